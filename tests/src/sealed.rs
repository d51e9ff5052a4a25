//! What the fuzzer of sealed files runs.

use headstart::sealed::{Content, HEADER, NONCE, SealedError, SharedKey, TAG};

use super::choices::Choices;

/// The fuzzer's bytes as a sealed file, which nobody sealed; then as the choices that make one, and as
/// what is done to it: the answer is known, and a file that is refused is as before. True where the
/// second is opened.
pub fn file(data: &[u8]) -> bool {
    // A key of its own: what the other one seals below the fuzzer sees, and learns.
    let unused = SharedKey::new(&[8; 32]);
    for content in [Content::Pack, Content::Head] {
        let mut garbage = data.to_vec();
        let opened = unused.open(content, &mut garbage);
        opened.expect_err("nobody sealed it");
        assert_eq!(garbage, data);
    }

    let key = SharedKey::new(&[9; 32]);
    let mut choices = Choices::new(data);
    let length = choices.below(64);
    let content = choices.take(length).to_vec();
    let mut nonce = [0; NONCE];
    nonce.fill(choices.byte());
    let [sealed_as, wanted] = [(); 2].map(|()| choices.pick(&[Content::Pack, Content::Head]));
    let mut file = [&[0; HEADER][..], &content, &[0; TAG]].concat();
    key.seal(sealed_as, &nonce, &mut file).expect("room");
    let honest = file.clone();
    for _ in 0..choices.below(4) {
        let at = choices.word() as u32 as usize % file.len();
        file[at] ^= choices.byte();
    }
    if choices.once_in(8) {
        file.truncate(file.len() - choices.below(file.len()));
    }
    let other_key = choices.once_in(8);
    let opener = if other_key {
        SharedKey::new(&[10; 32])
    } else {
        key
    };

    let as_given = file.clone();
    let opened = opener.open(wanted, &mut file).map(<[u8]>::to_vec);
    match &opened {
        Ok(opened) => {
            assert!(as_given == honest && sealed_as == wanted && !other_key);
            assert_eq!(*opened, content);
        }
        Err(why) => {
            assert_eq!(file, as_given);
            let magic = as_given.first_chunk::<8>() == honest.first_chunk::<8>();
            let expected = match () {
                () if as_given.len() < HEADER + TAG || !magic => SealedError::NotSealed,
                () if as_given[8..10] != honest[8..10] => SealedError::Version {
                    found: u16::from_le_bytes([as_given[8], as_given[9]]),
                },
                () if as_given[10..12] != (wanted as u16).to_le_bytes()
                    || as_given[12..16] != [0; 4] =>
                {
                    SealedError::OtherContent
                }
                () => SealedError::Refused,
            };
            assert_eq!(*why, expected);
            assert!(as_given != honest || sealed_as != wanted || other_key);
        }
    }
    opened.is_ok()
}
