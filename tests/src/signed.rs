//! What the fuzzers of signed files run.

use std::sync::LazyLock;

use ed25519_dalek::{Signer, SigningKey};
use headstart::signed::{Content, PublicKey, Signed, SignedError, VERSION};

use super::choices::Choices;

/// The device's pair of keys, and the secret key of somebody else.
static KEYS: LazyLock<(SigningKey, PublicKey, SigningKey)> = LazyLock::new(|| {
    let [ours, others] = [7, 8].map(|number| SigningKey::from_bytes(&[number; 32]));
    let public = PublicKey::new(ours.verifying_key().as_bytes());
    (
        ours,
        public.expect("a key of its own is a good one"),
        others,
    )
});

/// The fuzzer's bytes as a signed file, and their first 32 as a key: nobody signed them, so that no
/// key takes them. True where they get as far as the signature.
pub fn bytes(data: &[u8]) -> bool {
    let (_, ours, _) = &*KEYS;
    let mut reached = false;
    for content in [Content::Pack, Content::Head] {
        let refused = ours.check(content, data, 0).expect_err("nobody signed it");
        reached |= refused == SignedError::Altered;
        if let Some((key, file)) = data.split_first_chunk()
            && let Ok(theirs) = PublicKey::new(key)
        {
            assert!(theirs.check(content, file, 0).is_err(), "nobody signed it");
        }
    }
    reached
}

/// The fuzzer's bytes as the choices that make a signed file, a good one or with fields that are not
/// what the device asks for, and as what is done to it afterwards: the answer is known. True where it
/// is taken.
pub fn fields(data: &[u8]) -> bool {
    let mut choices = Choices::new(data);
    let (ours, public, others) = &*KEYS;
    let length = choices.below(64);
    let content = choices.take(length).to_vec();
    let wanted = choices.pick(&[Content::Pack, Content::Head]);
    let kind = match choices.once_in(4) {
        true => choices.word() as u16,
        false => wanted as u16,
    };
    const COUNTERS: [u32; 6] = [0, 1, 2, 3, u32::MAX - 1, u32::MAX];
    let (counter, least) = (choices.pick(&COUNTERS), choices.pick(&COUNTERS));
    let version = if choices.once_in(8) { 2 } else { VERSION };
    let mut trailer = public.trailer(wanted, counter);
    trailer[8..10].copy_from_slice(&version.to_le_bytes());
    trailer[10..12].copy_from_slice(&kind.to_le_bytes());
    let own_magic = !choices.once_in(8);
    if !own_magic {
        trailer[choices.below(8)] ^= choices.byte().max(1);
    }
    let own_name = !choices.once_in(8);
    if !own_name {
        trailer[16 + choices.below(8)] ^= choices.byte().max(1);
    }
    // What is reserved may hold anything, as long as it was signed.
    trailer[24 + choices.below(8)] = choices.byte();
    let mut file = [&content[..], &trailer].concat();
    let own_key = !choices.once_in(8);
    let signer = if own_key { ours } else { others };
    let signature = signer.sign(&file).to_bytes();
    file.extend(signature);
    let honest = file.clone();
    for _ in 0..choices.below(4) {
        let at = choices.word() as u32 as usize % file.len();
        file[at] ^= choices.byte();
    }
    if choices.once_in(8) {
        file.truncate(file.len() - choices.below(file.len()));
    }
    let found = public.check(wanted, &file, least);
    if file != honest {
        assert!(found.is_err(), "altered, and taken");
        return false;
    }
    let expected = match () {
        () if !own_magic => Err(SignedError::Unsigned),
        () if version != VERSION => Err(SignedError::Version { found: version }),
        () if !own_name => Err(SignedError::OtherKey),
        () if !own_key => Err(SignedError::Altered),
        () if kind != wanted as u16 => Err(SignedError::OtherContent),
        () if counter < least => Err(SignedError::Older {
            found: counter,
            least,
        }),
        () => Ok(Signed {
            bytes: &content[..],
            counter,
        }),
    };
    assert_eq!(found, expected);
    found.is_ok()
}
