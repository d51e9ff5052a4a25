//! Frames: bytes in, one at a time, messages out; and the other way round.

use postcard::ser_flavors::{Cobs, Flavor, Slice};
use serde::{Deserialize, Serialize};

use super::VERSION;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
/// Of the checksum.
const SUM: usize = 4;

/// Why what came before a zero is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// No frame, or its checksum does not match.
    Damaged,
    /// It is longer than the buffer.
    TooLong,
    /// It is of another version of the protocol.
    Version {
        /// The frame's version; this crate speaks [`VERSION`].
        found: u8,
    },
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FrameError::Damaged => f.write_str("the frame was damaged on its way"),
            FrameError::TooLong => f.write_str("the frame is longer than the buffer"),
            FrameError::Version { found } => {
                write!(
                    f,
                    "protocol version {found}, this side speaks version {VERSION}"
                )
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// Finds frames among the bytes that arrive, in memory of the caller's:
/// [`request_bytes`](super::request_bytes) or [`reply_bytes`](super::reply_bytes).
///
/// ```
/// use headstart::wire::{Receiver, Request, write};
/// let mut wire = [0; 16];
/// let length = write(7, &Request::Class { index: 2 }, &mut wire).unwrap();
///
/// let mut buffer = [0; 16];
/// let mut receiver = Receiver::new(&mut buffer);
/// for &byte in &wire[..length] {
///     if receiver.push(byte)? {
///         assert_eq!(receiver.message(), Some((7, Request::Class { index: 2 })));
///     }
/// }
/// # Ok::<(), headstart::wire::FrameError>(())
/// ```
pub struct Receiver<'b> {
    buffer: &'b mut [u8],
    /// Bytes of the frame so far, COBS undone.
    length: usize,
    /// Until the next code byte.
    left: u8,
    /// A zero stands before the next code byte's bytes.
    zero: bool,
    /// Some byte came since the last zero.
    begun: bool,
    full: bool,
    /// Where the whole frame's number and message lie; empty where there is none.
    message: core::ops::Range<usize>,
}

impl<'b> Receiver<'b> {
    /// Waits for a frame.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Receiver {
            buffer,
            length: 0,
            left: 0,
            zero: false,
            begun: false,
            full: false,
            message: 0..0,
        }
    }

    /// The most bytes of a frame, COBS undone, that there is room for.
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Takes a byte. True where it ended a frame, which is [`Receiver::message`] until the next call.
    ///
    /// # Errors
    /// What it ended is no frame; the next one is looked for.
    pub fn push(&mut self, byte: u8) -> Result<bool, FrameError> {
        self.message = 0..0;
        match (byte, self.left) {
            (0, left) => {
                let (length, begun, full) = (self.length, self.begun, self.full);
                (self.length, self.left, self.zero) = (0, 0, false);
                (self.begun, self.full) = (false, false);
                return match (begun, full, left) {
                    (false, _, _) => Ok(false),
                    (_, true, _) => Err(FrameError::TooLong),
                    (_, _, 0) => self.check(length).map(|()| true),
                    _ => Err(FrameError::Damaged),
                };
            }
            (code, 0) => {
                if self.zero {
                    self.keep(0);
                }
                self.left = code - 1;
                self.zero = code != u8::MAX;
            }
            (value, left) => {
                self.left = left - 1;
                self.keep(value);
            }
        }
        self.begun = true;
        Ok(false)
    }

    fn keep(&mut self, value: u8) {
        match self.buffer.get_mut(self.length) {
            Some(place) => {
                *place = value;
                self.length += 1;
            }
            None => self.full = true,
        }
    }

    /// Checksum first, then the version.
    fn check(&mut self, length: usize) -> Result<(), FrameError> {
        let frame = self.buffer.get(..length);
        let (body, sum) = frame
            .and_then(|frame| frame.split_last_chunk::<SUM>())
            .ok_or(FrameError::Damaged)?;
        if CRC.checksum(body) != u32::from_le_bytes(*sum) {
            return Err(FrameError::Damaged);
        }
        match body.first() {
            Some(&VERSION) => {}
            Some(&found) => return Err(FrameError::Version { found }),
            None => return Err(FrameError::Damaged),
        }
        // A signal stands last: where the message ends at an even address, int16 can be read in place.
        // The checksum's bytes are free by now.
        let (mut start, mut end) = (1, length - SUM);
        if self.buffer.as_ptr().wrapping_add(end).addr() % 2 == 1 {
            self.buffer.copy_within(start..end, start + 1);
            (start, end) = (start + 1, end + 1);
        }
        self.message = start..end;
        Ok(())
    }

    /// The number and the message of the frame that the last byte ended; `None` where there is none,
    /// or it is no `M`.
    pub fn message<'s, M: Deserialize<'s>>(&'s self) -> Option<(u32, M)> {
        let bytes = self.buffer.get(self.message.clone())?;
        match postcard::take_from_bytes(bytes) {
            Ok((message, [])) => Some(message),
            _ => None,
        }
    }

    /// The buffer, for other use until the next byte comes.
    pub(super) fn scratch(&mut self) -> &mut [u8] {
        self.message = 0..0;
        self.buffer
    }
}

/// Writes a frame, its zero included, and returns how many bytes that took; `None` where `out` is
/// shorter than [`frame_bytes`](super::frame_bytes) of the message.
pub fn write(number: u32, message: &impl Serialize, out: &mut [u8]) -> Option<usize> {
    let cobs = Cobs::try_new(Slice::new(out)).ok()?;
    let mut frame = Summed(cobs, CRC.digest());
    frame.try_push(VERSION).ok()?;
    let written = postcard::serialize_with_flavor(&(number, message), frame).ok()?;
    Some(written.len())
}

/// Adds the checksum behind the last byte.
struct Summed<F>(F, crc::Digest<'static, u32>);

impl<F: Flavor> Flavor for Summed<F> {
    type Output = F::Output;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.1.update(&[byte]);
        self.0.try_push(byte)
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.1.update(bytes);
        self.0.try_extend(bytes)
    }

    fn finalize(mut self) -> postcard::Result<Self::Output> {
        self.0.try_extend(&self.1.finalize().to_le_bytes())?;
        self.0.finalize()
    }
}
