//! Teaching over a wire: a host sends labels, and signals where the device's own sensor is not what is to
//! be learnt; the device answers with predictions, samples and what it has learnt. Over a serial line or
//! TCP, on a board and on Linux, by the same code. Feature `wire`.
//!
//! ```text
//! frame  | COBS of | version u8 | number u32, message: postcard | CRC-32 u32 | | 0 |
//! ```
//!
//! A zero ends a frame and occurs nowhere in it (*Consistent Overhead Byte Stuffing*, Cheshire and Baker,
//! 1999), so that a receiver which lost its place, or was sent something else, is back at the next
//! zero. The host asks, the device answers, one frame each. A request that comes again under its
//! number is answered with the reply that was given, and not done again: a reply that was
//! lost can be asked for without learning twice. FORMAT.md has the bytes.
//!
//! A board's whole main loop, with [`Server`] and [`Device`]:
//!
//! ```no_run
//! use headstart::wire::{self, Device, Input, Server};
//! # fn with(learner: headstart::Learner<'_, headstart::PackedEncoder<'_>, headstart::PrototypeHead>,
//! #     pack: headstart::EncoderPack<'_>, read: impl Fn() -> u8, write: impl Fn(&[u8])) {
//! let mut request = [0; wire::request_bytes(2 * 768)];      // windows of 768 counts
//! let mut reply = [0; wire::reply_bytes(64)];               // embeddings of 64 values
//! let mut server = Server::new(&mut request, &mut reply);
//! let mut device = Device::new(learner, Input::of(&pack.frontend()), ()); // () is no sensor of its own
//! loop {
//!     if let Some(reply) = server.push(read(), &mut device) {
//!         write(reply);
//!     }
//! }
//! # }
//! ```

mod frame;
mod server;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::frontend::FrontEnd;
use crate::learner::LearnerError;
use crate::pack::Artefact;
use crate::samples::SamplesError;
use crate::statistics::StatisticsError;
use crate::store::StoreError;

pub use frame::{FrameError, Receiver, write};
pub use server::{Device, NoFlash, Sensor, Server};

/// The version of the protocol, in every frame.
pub const VERSION: u8 = 1;

/// The longest text of a [`Reply::Refused`], in bytes.
pub const TEXT: usize = 192;

/// The longest name of a class with its length.
const LABEL: usize = 17;
/// The most that a number takes.
const NUMBER: usize = 5;
/// What a frame has beside its message: version and checksum.
const AROUND: usize = 5;

/// Bytes that a frame with a message of `message` bytes takes on the wire, its zero included.
pub const fn frame_bytes(message: usize) -> usize {
    let bytes = message + AROUND;
    bytes + bytes / 254 + 2
}

/// Bytes of a [`Receiver`]'s buffer for requests with a signal of up to `signal` bytes: two for each
/// count of a sensor, one for each value of a picture; 0 where the device learns what its own sensor
/// sees.
pub const fn request_bytes(signal: usize) -> usize {
    // Number, kind, name, kind of signal, height, width, channels, length.
    AROUND + NUMBER + 1 + LABEL + 1 + 3 + 3 + 1 + NUMBER + signal
}

/// Bytes of a [`Server`]'s other buffer, for embeddings of length `dim`. More is of use: a snapshot goes
/// over in as many pieces as it takes.
pub const fn reply_bytes(dim: usize) -> usize {
    let sample = NUMBER + 1 + NUMBER + LABEL + 3 + dim;
    let refused = NUMBER + 1 + 1 + 2 + TEXT; // longer than an Info
    frame_bytes(if sample > refused { sample } else { refused })
}

/// What a host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who is there? [`Reply::Info`].
    Hello,
    /// Learn an example: [`Reply::Learnt`], where there is a log after it is in flash.
    Learn {
        /// The class's name, 1 to 16 bytes.
        label: &'a str,
        /// The example.
        #[serde(borrow)]
        signal: Signal<'a>,
    },
    /// What is this? [`Reply::Prediction`].
    Predict(#[serde(borrow)] Signal<'a>),
    /// Forget the example learnt last: [`Reply::Done`].
    Undo,
    /// Forget the sample of this number, where there is a log: [`Reply::Done`].
    Forget {
        /// As [`Reply::Learnt`] and [`Reply::Sample`] have it.
        id: u32,
    },
    /// Forget a class and all its examples: [`Reply::Done`].
    ForgetClass {
        /// Its name.
        label: &'a str,
    },
    /// Which class is number `index`, in the order of names? [`Reply::Class`].
    Class {
        /// From 0 on.
        index: u16,
    },
    /// The first sample whose number is `from` or more: [`Reply::Sample`].
    Sample {
        /// From 0 on.
        from: u32,
    },
    /// What was learnt, as [`Statistics::save`](crate::Statistics::save) writes it, from byte `at` on:
    /// [`Reply::Head`].
    Head {
        /// From 0 on.
        at: u32,
    },
}

/// What is to be learnt or named. Its bytes are the last of a message, which is how a device finds them
/// at an even address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal<'a> {
    /// What the device's own sensor sees now.
    Own,
    /// Counts of a sensor, `[time][channel]`, or sound: int16, little-endian.
    Samples(&'a [u8]),
    /// A picture.
    Image {
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
        /// 1 or 3.
        channels: u8,
        /// `[height][width][channels]`.
        pixels: &'a [u8],
    },
}

/// What a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// Who it is.
    Info(Info),
    /// The example is learnt.
    Learnt {
        /// Its number in the log, where there is one.
        id: Option<u32>,
        /// Examples that its class has now.
        examples: u32,
    },
    /// See [`Prediction`](crate::Prediction).
    Prediction {
        /// The most probable class.
        label: &'a str,
        /// 0 to 1.
        probability: f32,
        /// 0 to 1.
        margin: f32,
        /// A [`Verdict`](crate::Verdict) as a number.
        verdict: u8,
    },
    /// What was asked for is done.
    Done,
    /// A class.
    Class {
        /// Its name.
        label: &'a str,
        /// Its examples.
        examples: u32,
    },
    /// A sample.
    Sample {
        /// Its number: the log's where there is one, else its place.
        id: u32,
        /// Its class.
        label: &'a str,
        /// D values, int8.
        values: &'a [u8],
    },
    /// A piece of a snapshot.
    Head {
        /// Of all of it.
        length: u32,
        /// From the byte asked for on.
        bytes: &'a [u8],
    },
    /// It was not done.
    Refused {
        /// For programs.
        why: Refusal,
        /// For people; empty where `why` says it all.
        text: &'a str,
    },
}

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// SHA-256 of the encoder file.
    pub artefact: Artefact,
    /// D, the length of an embedding.
    pub dim: u16,
    /// What the encoder takes.
    pub input: Input,
    /// Classes that have an example.
    pub classes: u16,
    /// Classes that there is room for.
    pub room: u16,
    /// Examples learnt, of all classes.
    pub examples: u32,
    /// Samples that can be read back; `None` where only their sums are kept.
    pub samples: Option<u32>,
    /// Version, message and checksum of a request take so many bytes at most.
    pub largest_frame: u32,
}

/// What an encoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A window of a sensor.
    Sensor {
        /// Time steps.
        window: u16,
        /// Counts a time step.
        channels: u16,
        /// Time steps between the starts of two windows.
        hop: u16,
        /// Time steps a second.
        rate_hz: f32,
    },
    /// A picture; others are resized.
    Picture {
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
        /// 1 or 3.
        channels: u16,
    },
    /// Sound.
    Sound {
        /// Samples.
        samples: u32,
        /// Samples a second.
        rate_hz: u32,
    },
}

impl Input {
    /// That of a pack.
    pub fn of(frontend: &FrontEnd<'_>) -> Input {
        match frontend {
            FrontEnd::Sensor(sensor) => Input::Sensor {
                window: sensor.window as u16,
                channels: sensor.channels as u16,
                hop: sensor.hop as u16,
                rate_hz: sensor.rate_hz,
            },
            FrontEnd::Image(image) => Input::Picture {
                height: image.height() as u16,
                width: image.width() as u16,
                channels: image.channels() as u16,
            },
            FrontEnd::LogMel(sound) => Input::Sound {
                samples: sound.len() as u32,
                rate_hz: sound.rate_hz(),
            },
        }
    }
}

/// Why a device did not do what it was asked. What it has learnt is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// What arrived was no frame, or was damaged: send it again.
    Damaged,
    /// The frame is longer than the device's buffer.
    TooLong,
    /// The frame is of another version of the protocol.
    Version,
    /// The frame is whole, but its message is none that the device knows.
    Unknown,
    /// The answer is longer than the device's buffer.
    NoRoom,
    /// The device has no sensor of its own, or that has not seen enough yet.
    NothingSeen,
    /// The signal gives no embedding: of another length or kind, or silent.
    Signal,
    /// A name is empty or longer than 16 bytes.
    Label,
    /// There is no class or sample of that name or number.
    NotFound,
    /// No class, example or sample more fits in.
    Full,
    /// Nothing was learnt yet.
    NothingLearnt,
    /// There is no last label to undo.
    NothingToUndo,
    /// The device keeps no samples, or no log of them.
    NotKept,
    /// The flash failed: what was acknowledged is safe.
    Flash,
    /// Something else; the text says what.
    Other,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Refusal::Damaged => "the request was damaged on its way",
            Refusal::TooLong => "the request is longer than the device's buffer",
            Refusal::Version => "the request is of another version of the protocol",
            Refusal::Unknown => "the device does not know this request",
            Refusal::NoRoom => "the answer is longer than the device's buffer",
            Refusal::NothingSeen => {
                "the device has no sensor of its own, or has not seen enough yet"
            }
            Refusal::Signal => "the signal gives no embedding",
            Refusal::Label => "a class name has 1 to 16 bytes",
            Refusal::NotFound => "there is no such class or sample",
            Refusal::Full => "the device is full: forget something first",
            Refusal::NothingLearnt => "nothing was learnt yet",
            Refusal::NothingToUndo => "there is no label to undo",
            Refusal::NotKept => "the device keeps no log of its samples",
            Refusal::Flash => "the flash failed",
            Refusal::Other => "it was not done",
        })
    }
}

impl core::error::Error for Refusal {}

impl From<LearnerError> for Refusal {
    fn from(error: LearnerError) -> Self {
        use {SamplesError as Sa, StatisticsError as St, StoreError as So};
        match error {
            LearnerError::Embed(_) => Refusal::Signal,
            LearnerError::Statistics(St::BadLabel) | LearnerError::Store(So::BadLabel) => {
                Refusal::Label
            }
            LearnerError::Statistics(St::UnknownLabel)
            | LearnerError::Store(So::Class | So::UnknownSample) => Refusal::NotFound,
            LearnerError::Statistics(St::TooManyClasses { .. } | St::TooManyExamples)
            | LearnerError::Samples(Sa::Full { .. })
            | LearnerError::Store(So::TooManyClasses { .. } | So::Full) => Refusal::Full,
            LearnerError::NothingLearnt => Refusal::NothingLearnt,
            LearnerError::NothingToUndo => Refusal::NothingToUndo,
            LearnerError::Store(_) => Refusal::Flash,
            _ => Refusal::Other,
        }
    }
}
