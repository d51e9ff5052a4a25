//! Sealed files: who has the key reads them, and no one else. A head tells on what it was learnt from;
//! sealed it can travel over a server that is nobody's business.
//!
//! ```text
//! | magic 8 B | version u16 | kind u16 | 0 4 B | nonce 24 B | the file, encrypted | tag 16 B |
//!  "HSSEAL\r\n"
//! ```
//!
//! The cipher is XChaCha20-Poly1305 (*ChaCha, a variant of Salsa20*, Bernstein, 2008; RFC 8439; with the
//! long nonce of draft-irtf-cfrg-xchacha). The tag is over everything before it: the kind, so that a
//! sealed head is no pack. All of it happens in place; the file itself begins at a multiple of 8, so
//! that it can be used where it lies.
//!
//! The key is one and the same for all who have it, so whoever can open a file can make one, too. Where
//! that matters a file is signed first (`signed`), then sealed: the signature is part of
//! what is hidden, holds for the file whoever sealed it and with whichever key, and can't be cut off
//! and replaced on the way.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};

pub use crate::content::Content;

/// The first bytes.
pub const MAGIC: [u8; 8] = *b"HSSEAL\r\n";
/// The version that this crate reads and writes.
pub const VERSION: u16 = 1;
/// What stands before the file.
pub const HEADER: usize = 40;
/// What stands behind it.
pub const TAG: usize = 16;
/// A nonce's length.
pub const NONCE: usize = 24;

/// A key that both sides have. Its bytes are wiped when it goes.
pub struct SharedKey(XChaCha20Poly1305);

/// Why a file was not opened, or not sealed. Its bytes are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedError {
    /// Not a sealed file, or cut short.
    NotSealed,
    /// Sealed for another version of the format.
    Version {
        /// The file's version.
        found: u16,
    },
    /// A sealed file, but of another kind.
    OtherContent,
    /// Altered, or sealed with another key: the two can't be told apart.
    Refused,
    /// No room for header and tag, or more than 256 GB.
    Length,
}

impl core::fmt::Display for SealedError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SealedError::NotSealed => f.write_str("the file is not sealed, or cut short"),
            SealedError::Version { found } => {
                write!(f, "seal version {found}, this crate reads {VERSION}")
            }
            SealedError::OtherContent => f.write_str("the file was sealed as something else"),
            SealedError::Refused => {
                f.write_str("the file was sealed with another key, or altered since")
            }
            SealedError::Length => write!(
                f,
                "a sealed file needs {HEADER} bytes before it and {TAG} behind it, and has an end"
            ),
        }
    }
}

impl core::error::Error for SealedError {}

impl SharedKey {
    /// A key of 32 random bytes, as `headstart keygen --shared` makes them.
    pub fn new(bytes: &[u8; 32]) -> Self {
        SharedKey(XChaCha20Poly1305::new(bytes.into()))
    }

    /// Decrypts a file where it lies and returns what was sealed; nothing changes before the tag was
    /// found right, in constant time. Costs Poly1305 and ChaCha20 over the file, once each.
    ///
    /// From then on the bytes lie there in the clear.
    ///
    /// ```
    /// use headstart::sealed::{Content, HEADER, SealedError, SharedKey, TAG};
    /// let key = SharedKey::new(&[7; 32]);
    /// # let mut file = [0; HEADER + 6 + TAG];
    /// # file[HEADER..HEADER + 6].copy_from_slice(b"a head");
    /// # key.seal(Content::Head, &[0; 24], &mut file)?;
    /// let head: &[u8] = key.open(Content::Head, &mut file)?;
    /// assert_eq!(head, b"a head");
    /// # Ok::<(), SealedError>(())
    /// ```
    ///
    /// # Errors
    /// It is no sealed file, of another kind, altered, or sealed with another key.
    pub fn open<'b>(&self, content: Content, file: &'b mut [u8]) -> Result<&'b [u8], SealedError> {
        let (head, rest) = file
            .split_first_chunk_mut::<HEADER>()
            .ok_or(SealedError::NotSealed)?;
        let (bytes, tag) = rest
            .split_last_chunk_mut::<TAG>()
            .ok_or(SealedError::NotSealed)?;
        let (start, nonce) = head
            .split_last_chunk::<NONCE>()
            .ok_or(SealedError::NotSealed)?;
        if start[..8] != MAGIC {
            return Err(SealedError::NotSealed);
        }
        let found = u16::from_le_bytes([start[8], start[9]]);
        if found != VERSION {
            return Err(SealedError::Version { found });
        }
        // What is reserved belongs to the kind.
        if *start != header(content, nonce)[..HEADER - NONCE] {
            return Err(SealedError::OtherContent);
        }
        let opened =
            self.0
                .decrypt_inout_detached(nonce.into(), head, (&mut *bytes).into(), (&*tag).into());
        opened.map_err(|_| SealedError::Refused)?;
        Ok(bytes)
    }

    /// Encrypts in place what lies in `file` between [`HEADER`] bytes of room before it and [`TAG`]
    /// behind it, and fills these in. Costs what opening costs.
    ///
    /// **The nonce must never come twice with the same key**: who has two files of one nonce can subtract
    /// them, and forge others. 24 bytes of the chip's true random number generator never do; a counter that
    /// a reset turns back, or a seed that every unit has, do.
    ///
    /// ```
    /// use headstart::sealed::{Content, HEADER, SharedKey, TAG};
    /// # use headstart::{Label, Statistics};
    /// # let (mut words, mut labels) = ([0; 34], [const { Label::new() }; 2]);
    /// # let statistics = Statistics::new(16, [0; 32], &mut words, &mut labels)?;
    /// # let random = [9; 24];
    /// let mut file = [0; HEADER + Statistics::snapshot_bytes(16, 2) + TAG];
    /// let length = statistics.save(&mut file[HEADER..])?;
    /// let file = &mut file[..HEADER + length + TAG];
    /// SharedKey::new(&[7; 32]).seal(Content::Head, &random, file)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SealedError::Length`].
    pub fn seal(
        &self,
        content: Content,
        nonce: &[u8; NONCE],
        file: &mut [u8],
    ) -> Result<(), SealedError> {
        let (head, rest) = file
            .split_first_chunk_mut::<HEADER>()
            .ok_or(SealedError::Length)?;
        let (bytes, tag) = rest
            .split_last_chunk_mut::<TAG>()
            .ok_or(SealedError::Length)?;
        let own = header(content, nonce);
        let sealed = self
            .0
            .encrypt_inout_detached(nonce.into(), &own, bytes.into());
        *tag = sealed.map_err(|_| SealedError::Length)?.into();
        *head = own;
        Ok(())
    }
}

fn header(content: Content, nonce: &[u8; NONCE]) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    head[..8].copy_from_slice(&MAGIC);
    head[8..10].copy_from_slice(&VERSION.to_le_bytes());
    head[10..12].copy_from_slice(&(content as u16).to_le_bytes());
    head[HEADER - NONCE..].copy_from_slice(nonce);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"a head, by and large";
    const SIZE: usize = HEADER + TEXT.len() + TAG;

    fn counting<const N: usize>(from: u8) -> [u8; N] {
        core::array::from_fn(|i| from + i as u8)
    }

    fn key() -> SharedKey {
        SharedKey::new(&counting(0))
    }

    fn sealed() -> [u8; SIZE] {
        let mut file = [0xaa; SIZE];
        file[HEADER..SIZE - TAG].copy_from_slice(TEXT);
        let done = key().seal(Content::Head, &counting(0), &mut file);
        done.expect("there is room");
        file
    }

    fn hex(bytes: &[u8]) -> std::string::String {
        bytes.iter().map(|b| std::format!("{b:02x}")).collect()
    }

    /// Appendix A.3.1 of draft-irtf-cfrg-xchacha-03.
    #[test]
    fn the_cipher_is_the_published_one() {
        let mut text =
            *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                          for the future, sunscreen would be it.";
        let associated = [
            0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
        ];
        let (key, nonce) = (SharedKey::new(&counting(0x80)), counting::<NONCE>(0x40));
        let tag =
            key.0
                .encrypt_inout_detached((&nonce).into(), &associated, (&mut text[..]).into());
        assert_eq!(
            hex(&text),
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
             731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
             2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
             21f9664c97637da9768812f615c68b13b52e"
        );
        let tag = tag.expect("it is short");
        assert_eq!(hex(&tag), "c0875924c1c7987947deafd8780acf49");
    }

    /// As libsodium seals it: `crypto_aead_xchacha20poly1305_ietf_encrypt` of the text, with the first
    /// 40 bytes as associated data.
    #[test]
    fn a_file_is_what_another_library_makes_of_it() {
        assert_eq!(
            hex(&sealed()),
            "48535345414c0d0a0100020000000000000102030405060708090a0b0c0d0e0f1011121314151617\
             ffe2671af1b6a18e513d06afa53688842a354fc0\
             ae572be3f87c63cc84cbdf4c0312f450"
        );
    }

    #[test]
    fn a_refused_file_is_left_as_it_was() {
        let whole = sealed();
        assert_eq!(key().open(Content::Head, &mut whole.clone()), Ok(TEXT));
        for bit in 0..8 * SIZE {
            let mut altered = whole;
            altered[bit / 8] ^= 1 << (bit % 8);
            let before = altered;
            let opened = key().open(Content::Head, &mut altered).is_ok();
            assert!(!opened, "bit {bit}");
            assert_eq!(altered, before, "bit {bit}");
        }
        for length in 0..SIZE {
            let mut short = whole;
            let opened = key().open(Content::Head, &mut short[..length]).is_ok();
            assert!(!opened, "{length} bytes");
        }
    }

    #[test]
    fn each_refusal_says_why() {
        let why = |key: &SharedKey, content, mut file: [u8; SIZE]| {
            key.open(content, &mut file).expect_err("refused")
        };
        let altered = |at: usize| {
            let mut file = sealed();
            file[at] ^= 1;
            file
        };
        let other = SharedKey::new(&counting(1));
        assert_eq!(why(&other, Content::Head, sealed()), SealedError::Refused);
        assert_eq!(
            why(&key(), Content::Pack, sealed()),
            SealedError::OtherContent
        );
        assert_eq!(
            why(&key(), Content::Head, altered(0)),
            SealedError::NotSealed
        );
        let version = SealedError::Version { found: 0 };
        assert_eq!(why(&key(), Content::Head, altered(8)), version);
        // What is reserved is 0.
        for at in 12..16 {
            let error = why(&key(), Content::Head, altered(at));
            assert_eq!(error, SealedError::OtherContent, "byte {at}");
        }
        for at in [HEADER - 1, HEADER, SIZE - 1] {
            let error = why(&key(), Content::Head, altered(at));
            assert_eq!(error, SealedError::Refused, "byte {at}");
        }
        let mut short = [0; HEADER + TAG - 1];
        let sealed = key().seal(Content::Head, &counting(0), &mut short);
        assert_eq!(sealed, Err(SealedError::Length));
        let empty = key().open(Content::Head, &mut short);
        assert_eq!(empty, Err(SealedError::NotSealed));
    }
}
