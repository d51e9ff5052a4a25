//! Signed files: a device that was given a public key takes no pack and no head from anyone else, and
//! none that is older than what it has.
//!
//! ```text
//! | the file as it was | magic 8 B | version u16 | kind u16 | counter u32 | key 8 B | 0 8 B | signature 64 B |
//!                      "HSSIGN\r\n"
//! ```
//!
//! The signature is Ed25519 (*High-speed high-security signatures*, Bernstein et al., 2012) over
//! everything before it: the kind, so that a signed head is no pack, and the counter, so that an
//! older file with its honest signature is refused. It is checked strictly (`verify_strict`): keys
//! and points of small order are refused. Nothing here is secret on the device, so its time tells
//! nothing; making signatures is the host's, in constant time.

use ed25519_dalek::{Signature, VerifyingKey};

pub use crate::content::Content;

/// The first bytes of the trailer.
pub const MAGIC: [u8; 8] = *b"HSSIGN\r\n";
/// The version that this crate reads.
pub const VERSION: u16 = 1;
/// What signing adds to a file.
pub const TRAILER: usize = 96;
const SIGNATURE: usize = 64;

/// Whom a device trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedError {
    /// The key's bytes are no public key.
    BadKey,
    /// There is no signature at its end.
    Unsigned,
    /// Signed for another version of the format.
    Version {
        /// The file's version.
        found: u16,
    },
    /// A signed file, but of another kind.
    OtherContent,
    /// Signed with another key.
    OtherKey,
    /// The bytes are not those that were signed.
    Altered,
    /// Older than what the device has seen.
    Older {
        /// The file's counter.
        found: u32,
        /// The least that is taken.
        least: u32,
    },
}

impl core::fmt::Display for SignedError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SignedError::BadKey => f.write_str("these bytes are no public key"),
            SignedError::Unsigned => f.write_str("the file is not signed"),
            SignedError::Version { found } => {
                write!(f, "signature version {found}, this crate reads {VERSION}")
            }
            SignedError::OtherContent => f.write_str("the file was signed as something else"),
            SignedError::OtherKey => f.write_str("the file was signed with another key"),
            SignedError::Altered => f.write_str("the file was altered after it was signed"),
            SignedError::Older { found, least } => {
                write!(
                    f,
                    "the file is older than what was here: its counter is {found}, not {least} or more"
                )
            }
        }
    }
}

impl core::error::Error for SignedError {}

/// A file whose signature was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'b> {
    /// The file as it was before it was signed.
    pub bytes: &'b [u8],
    /// Keep the largest that was taken, where only firmware writes, and ask for no less.
    pub counter: u32,
}

impl PublicKey {
    /// A key as `headstart keygen` prints it, 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, SignedError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| SignedError::BadKey)?;
        match key.is_weak() {
            true => Err(SignedError::BadKey),
            false => Ok(PublicKey(key)),
        }
    }

    /// Checks a signed file; `least` is the smallest counter that is taken. Costs a SHA-512 of the
    /// file and two scalar multiplications.
    ///
    /// ```no_run
    /// use headstart::EncoderPack;
    /// use headstart::signed::{Content, PublicKey};
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let (key, bytes, seen) = ([0; 32], &[][..], 0);
    /// let signed = PublicKey::new(&key)?.check(Content::Pack, bytes, seen)?;
    /// let pack = EncoderPack::new(signed.bytes)?;
    /// # let _ = pack;
    /// # Ok(())
    /// # }
    /// ```
    pub fn check<'b>(
        &self,
        content: Content,
        file: &'b [u8],
        least: u32,
    ) -> Result<Signed<'b>, SignedError> {
        let (message, signature) = file
            .split_last_chunk::<SIGNATURE>()
            .ok_or(SignedError::Unsigned)?;
        let (bytes, head) = message
            .split_last_chunk::<{ TRAILER - SIGNATURE }>()
            .ok_or(SignedError::Unsigned)?;
        if head[..8] != MAGIC {
            return Err(SignedError::Unsigned);
        }
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let found = short(8);
        if found != VERSION {
            return Err(SignedError::Version { found });
        }
        if head[16..24] != self.id() {
            return Err(SignedError::OtherKey);
        }
        let signature = Signature::from_bytes(signature);
        let checked = self.0.verify_strict(message, &signature);
        checked.map_err(|_| SignedError::Altered)?;
        if short(10) != content as u16 {
            return Err(SignedError::OtherContent);
        }
        let counter = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        if counter < least {
            let found = counter;
            return Err(SignedError::Older { found, least });
        }
        Ok(Signed { bytes, counter })
    }

    /// The key's first bytes: enough to say which key it was, not to trust it.
    fn id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&self.0.as_bytes()[..8]);
        id
    }

    /// What stands between a file and its signature.
    pub fn trailer(&self, content: Content, counter: u32) -> [u8; TRAILER - SIGNATURE] {
        let mut head = [0; TRAILER - SIGNATURE];
        head[..8].copy_from_slice(&MAGIC);
        head[8..10].copy_from_slice(&VERSION.to_le_bytes());
        head[10..12].copy_from_slice(&(content as u16).to_le_bytes());
        head[12..16].copy_from_slice(&counter.to_le_bytes());
        head[16..24].copy_from_slice(&self.id());
        head
    }
}
