//! The device's side: one request in, one reply out.

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use super::frame::{FrameError, Receiver, write};
use super::{Info, Input, Refusal, Reply, Request, Signal, TEXT};
use crate::encoder::Encoder;
use crate::frontend;
use crate::head::Head;
use crate::learner::{Learner, LearnerError, WhenFull};
use crate::statistics::SampleId;
use crate::store::{SampleLog, StoreError};

/// What a device sees by itself.
pub trait Sensor {
    /// What it sees now: as much as the encoder takes. `None` where it has not seen as much yet.
    fn signal(&mut self) -> Option<frontend::Signal<'_>>;
}

/// A device without a sensor of its own: the host sends all signals.
impl Sensor for () {
    fn signal(&mut self) -> Option<frontend::Signal<'_>> {
        None
    }
}

/// What is taught: a learner, what it sees by itself, and the log of its samples where there is one.
pub struct Device<'a, E, H, S, F = NoFlash> {
    /// Learns and predicts.
    pub learner: Learner<'a, E, H>,
    /// Where [`Signal::Own`] comes from.
    pub sensor: S,
    input: Input,
    log: Option<(SampleLog<'a, F>, WhenFull)>,
    /// In the log: what can be undone.
    last: Option<SampleId>,
}

impl<'a, E: Encoder, H: Head, S: Sensor> Device<'a, E, H, S> {
    /// A device whose samples are not kept beyond the learner's memory. `input` is told to hosts.
    pub fn new(learner: Learner<'a, E, H>, input: Input, sensor: S) -> Self {
        Device {
            learner,
            sensor,
            input,
            log: None,
            last: None,
        }
    }

    /// Keeps samples in a log too, from which the learner is restored already: an example is
    /// acknowledged when it is in flash.
    pub fn with_log<F: NorFlash>(
        self,
        log: SampleLog<'a, F>,
        when_full: WhenFull,
    ) -> Device<'a, E, H, S, F> {
        Device {
            learner: self.learner,
            sensor: self.sensor,
            input: self.input,
            log: Some((log, when_full)),
            last: None,
        }
    }
}

/// Answers requests, in memory of the caller's.
pub struct Server<'b> {
    receiver: Receiver<'b>,
    reply: &'b mut [u8],
    /// Of the reply that was given last, and the number of its request.
    length: usize,
    answered: Option<u32>,
    /// Beside it, for frames that can't be read: they must not take the place of a reply that may be
    /// asked for again.
    fault: [u8; 16],
}

impl<'b> Server<'b> {
    /// `request` has [`request_bytes`](super::request_bytes), `reply` has
    /// [`reply_bytes`](super::reply_bytes); a frame that does not fit is refused.
    pub fn new(request: &'b mut [u8], reply: &'b mut [u8]) -> Self {
        Server {
            receiver: Receiver::new(request),
            reply,
            length: 0,
            answered: None,
            fault: [0; 16],
        }
    }

    /// Takes a byte from the wire. Where it ends a frame the request is done, and what comes back goes
    /// out over the wire before the next byte is taken.
    pub fn push<E: Encoder, H: Head, S: Sensor, F: NorFlash>(
        &mut self,
        byte: u8,
        device: &mut Device<'_, E, H, S, F>,
    ) -> Option<&[u8]> {
        match self.receiver.push(byte) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(FrameError::Damaged) => return self.fault(Refusal::Damaged),
            Err(FrameError::TooLong) => return self.fault(Refusal::TooLong),
            Err(FrameError::Version { .. }) => return self.fault(Refusal::Version),
        }
        let Some((number, request)) = self.receiver.message::<Request<'_>>() else {
            return self.fault(Refusal::Unknown);
        };
        if self.answered != Some(number) {
            let mut out = Out(number, self.reply);
            let done = match request {
                Request::Hello => out.put(&Reply::Info(device.info(self.receiver.capacity()))),
                Request::Learn { label, signal } => device.learn(label, signal, &mut out),
                Request::Predict(signal) => device.predict(signal, &mut out),
                Request::Undo => device.undo(&mut out),
                Request::Forget { id } => device.forget(SampleId(id), &mut out),
                Request::ForgetClass { label } => device.forget_class(label, &mut out),
                Request::Class { index } => device.class(index.into(), &mut out),
                Request::Sample { from } => device.sample(from, &mut out),
                Request::Head { at } => device.head(at as usize, self.receiver.scratch(), &mut out),
            };
            self.length = done.unwrap_or_else(|refused| out.refuse(&refused));
            self.answered = Some(number);
        }
        self.reply.get(..self.length)
    }

    /// What could not be read has no number: 0.
    fn fault(&mut self, why: Refusal) -> Option<&[u8]> {
        let length = write(0, &Reply::Refused { why, text: "" }, &mut self.fault)?;
        self.fault.get(..length)
    }
}

/// Why not.
enum Refused {
    /// Which says it all.
    Plain(Refusal),
    /// Which has a text of its own.
    Learner(LearnerError),
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Refused::Plain(why)
    }
}

impl From<LearnerError> for Refused {
    fn from(error: LearnerError) -> Self {
        Refused::Learner(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        LearnerError::Store(error).into()
    }
}

/// Bytes of the reply.
type Done = Result<usize, Refused>;

/// Where the reply to this number goes.
struct Out<'r>(u32, &'r mut [u8]);

impl Out<'_> {
    fn put(&mut self, reply: &Reply<'_>) -> Done {
        Ok(write(self.0, reply, self.1).ok_or(Refusal::NoRoom)?)
    }

    /// 0 where the buffer is shorter than any reply.
    fn refuse(&mut self, refused: &Refused) -> usize {
        let mut text = heapless::String::<TEXT>::new();
        let why = match *refused {
            Refused::Plain(why) => why,
            Refused::Learner(error) => {
                // What does not fit is left out: the code says the most of it.
                let _ = core::fmt::Write::write_fmt(&mut text, format_args!("{error}"));
                error.into()
            }
        };
        let refused = |text| Reply::Refused { why, text };
        write(self.0, &refused(&text), self.1)
            .or_else(|| write(self.0, &refused(""), self.1))
            .unwrap_or(0)
    }
}

impl<E: Encoder, H: Head, S: Sensor, F: NorFlash> Device<'_, E, H, S, F> {
    fn info(&self, largest_frame: usize) -> Info {
        let statistics = self.learner.statistics();
        let samples = match (&self.log, self.learner.samples()) {
            (Some((log, _)), _) => Some(log.len()),
            (None, Some(samples)) => Some(samples.len() as u32),
            (None, None) => None,
        };
        Info {
            artefact: statistics.artefact(),
            dim: statistics.dim() as u16,
            input: self.input,
            classes: statistics.classes() as u16,
            room: statistics.capacity() as u16,
            examples: statistics.examples() as u32,
            samples,
            largest_frame: largest_frame as u32,
        }
    }

    fn learn(&mut self, label: &str, signal: Signal<'_>, out: &mut Out<'_>) -> Done {
        let signal = seen(signal, &mut self.sensor)?;
        let id = match &mut self.log {
            Some((log, when_full)) => {
                let id = self.learner.learn_in(log, *when_full, label, signal)?;
                self.last = Some(id);
                Some(id.0)
            }
            None => {
                self.learner.learn(label, signal)?;
                None
            }
        };
        let statistics = self.learner.statistics();
        let class = statistics.find(label).and_then(|c| statistics.class(c));
        out.put(&Reply::Learnt {
            id,
            examples: class.map_or(0, |class| class.count as u32),
        })
    }

    fn predict(&mut self, signal: Signal<'_>, out: &mut Out<'_>) -> Done {
        let signal = seen(signal, &mut self.sensor)?;
        let prediction = self.learner.predict(signal)?;
        out.put(&Reply::Prediction {
            label: &prediction.label,
            probability: prediction.probability,
            margin: prediction.margin,
            verdict: prediction.verdict as u8,
        })
    }

    fn undo(&mut self, out: &mut Out<'_>) -> Done {
        match &mut self.log {
            Some((log, _)) => {
                let last = self.last.take().ok_or(LearnerError::NothingToUndo)?;
                self.learner.forget_in(log, last)?;
            }
            None => self.learner.undo()?,
        }
        out.put(&Reply::Done)
    }

    fn forget(&mut self, id: SampleId, out: &mut Out<'_>) -> Done {
        let (log, _) = self.log.as_mut().ok_or(Refusal::NotKept)?;
        self.learner.forget_in(log, id)?;
        self.last = self.last.filter(|&last| last != id);
        out.put(&Reply::Done)
    }

    /// Sample by sample where there is a log: what is left is right after a cut in between, and in the
    /// gram tier nothing else can be done.
    fn forget_class(&mut self, label: &str, out: &mut Out<'_>) -> Done {
        let mut found = false;
        if let Some((log, _)) = &mut self.log {
            while let Some(id) = first(log, |_, name| name == label)? {
                self.learner.forget_in(log, id)?;
                found = true;
            }
            self.last = None;
        }
        if !found || self.learner.statistics().find(label).is_some() {
            self.learner.forget_class(label)?;
        }
        out.put(&Reply::Done)
    }

    fn class(&self, index: usize, out: &mut Out<'_>) -> Done {
        let class = self.learner.statistics().class(index);
        let class = class.ok_or(Refusal::NotFound)?;
        out.put(&Reply::Class {
            label: class.label,
            examples: class.count as u32,
        })
    }

    fn sample(&mut self, from: u32, out: &mut Out<'_>) -> Done {
        let mut put = |id, label: &str, values: &[i8]| {
            out.put(&Reply::Sample {
                id,
                label,
                values: bytemuck::cast_slice(values),
            })
        };
        if let Some((log, _)) = &mut self.log {
            let id = first(log, |own, _| own.0 >= from)?.ok_or(Refusal::NotFound)?;
            let mut done = Err(Refusal::NotFound.into());
            log.for_each(|own, label, e| {
                if own == id {
                    done = put(id.0, label, e.values());
                }
            })?;
            return done;
        }
        let samples = self.learner.samples().ok_or(Refusal::NotKept)?;
        let sample = samples.iter().nth(from as usize);
        let (class, values) = sample.ok_or(Refusal::NotFound)?;
        let class = self.learner.statistics().class(class);
        put(from, class.ok_or(Refusal::NotFound)?.label, values)
    }

    /// As much of the snapshot as both buffers hold.
    fn head(&self, at: usize, scratch: &mut [u8], out: &mut Out<'_>) -> Done {
        let statistics = self.learner.statistics();
        let length = statistics.saved_bytes();
        // Number, kind, length, the piece's own length, and what COBS adds.
        let around = super::AROUND + 3 * super::NUMBER + 1 + out.1.len() / 254 + 2;
        let room = out.1.len().saturating_sub(around).min(scratch.len());
        let size = room.min(length.saturating_sub(at));
        if size == 0 && at < length {
            return Err(Refusal::NoRoom.into());
        }
        let piece = scratch.get_mut(..size).ok_or(Refusal::NoRoom)?;
        let mut from = 0;
        statistics.saved(|bytes| {
            // Where these bytes lie within the piece.
            for (i, &byte) in bytes.iter().enumerate() {
                let place = (from + i).checked_sub(at).and_then(|i| piece.get_mut(i));
                if let Some(place) = place {
                    *place = byte;
                }
            }
            from += bytes.len();
        });
        out.put(&Reply::Head {
            length: length as u32,
            bytes: piece,
        })
    }
}

/// A request's signal as the encoder takes it.
fn seen<'s>(
    signal: Signal<'s>,
    sensor: &'s mut impl Sensor,
) -> Result<frontend::Signal<'s>, Refusal> {
    match signal {
        Signal::Own => sensor.signal().ok_or(Refusal::NothingSeen),
        Signal::Samples(bytes) => bytemuck::try_cast_slice(bytes)
            .map(frontend::Signal::Samples)
            .map_err(|_| Refusal::Signal),
        Signal::Image {
            height,
            width,
            channels,
            pixels,
        } => frontend::Image::new(height.into(), width.into(), channels.into(), pixels)
            .map(frontend::Signal::Image)
            .ok_or(Refusal::Signal),
    }
}

/// The lowest number of the samples that are wanted.
fn first<F: NorFlash>(
    log: &mut SampleLog<'_, F>,
    wanted: impl Fn(SampleId, &str) -> bool,
) -> Result<Option<SampleId>, StoreError> {
    let mut first: Option<SampleId> = None;
    log.for_each(|id, label, _| {
        if wanted(id, label) && first.is_none_or(|first| id.0 < first.0) {
            first = Some(id);
        }
    })?;
    Ok(first)
}

/// The flash of a device that has no log: there is none, and no code for it in the binary.
pub enum NoFlash {}

impl ErrorType for NoFlash {
    type Error = core::convert::Infallible;
}

impl ReadNorFlash for NoFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Self::Error> {
        match *self {}
    }

    fn capacity(&self) -> usize {
        match *self {}
    }
}

impl NorFlash for NoFlash {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = 1;

    fn erase(&mut self, _: u32, _: u32) -> Result<(), Self::Error> {
        match *self {}
    }

    fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Self::Error> {
        match *self {}
    }
}
