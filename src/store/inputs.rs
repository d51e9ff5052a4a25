//! Inputs beside their samples, for who wants to learn them anew with another encoder.
//!
//! An input lies in slots of kind `I` with its sample's number, and is written before the sample: a learning
//! that was cut off can leave an input without its sample, and only the newest, which opening drops. Forgetting
//! takes the input first: one that was cut off can leave a sample without its input, never the reverse.

use embedded_storage::nor_flash::NorFlash;

use super::medium::{Kind, Record, Slot};
use super::{SampleLog, StoreError};
use crate::embedding::Embedding;
use crate::frontend::{Image, Signal};
use crate::statistics::SampleId;

/// Before an input's bytes: channels (0: samples) u8, 0 u8, height u16, width or number of samples u32.
const HEAD: usize = 8;
/// Before a slot's share of it: the slot's place.
const PLACE: usize = 2;

impl<F: NorFlash> SampleLog<'_, F> {
    /// Whether [`Learner::learn_in`](crate::Learner::learn_in) keeps inputs from now on: off at first.
    /// They are what the encoder sees, raw: whoever reads the flash sees it too.
    pub fn keep_inputs(&mut self, keep: bool) {
        self.keeps_inputs = keep;
    }

    /// See [`SampleLog::keep_inputs`].
    pub fn keeps_inputs(&self) -> bool {
        self.keeps_inputs
    }

    /// Slots that an input of so many bytes takes, beside the sample's own.
    pub fn input_slots(&self, bytes: usize) -> u32 {
        (HEAD + bytes).div_ceil(self.input_share()) as u32
    }

    /// Bytes of an input that a slot holds.
    fn input_share(&self) -> usize {
        self.medium.slot_bytes() - 12 - PLACE
    }

    /// As [`SampleLog::learn`], and keeps the input. Takes [`SampleLog::input_slots`] more.
    ///
    /// # Errors
    /// As for [`SampleLog::learn`]; where it is full nothing of the input stays.
    pub fn learn_with_input(
        &mut self,
        label: &str,
        e: Embedding<'_>,
        input: Signal<'_>,
    ) -> Result<SampleId, StoreError> {
        self.learn_and(label, e, Some(input))
    }

    /// Writes the slots of sample `number`'s input.
    pub(super) fn append_input(
        &mut self,
        class: u16,
        number: u32,
        input: Signal<'_>,
    ) -> Result<(), StoreError> {
        let (head, bytes): (_, &[u8]) = match input {
            Signal::Samples(samples) => {
                let count = u32::try_from(samples.len()).map_err(|_| StoreError::Full)?;
                (head(0, 0, count), bytemuck::cast_slice(samples))
            }
            Signal::Image(image) => (
                head(
                    image.channels() as u8,
                    image.height() as u16,
                    image.width() as u32,
                ),
                image.pixels(),
            ),
        };
        let share = self.input_share();
        let slots = (HEAD + bytes.len()).div_ceil(share);
        let record = Record {
            kind: Kind::Input,
            class,
            number,
        };
        for place in 0..slots {
            let short = u16::try_from(place).map_err(|_| StoreError::Full)?;
            self.append_with(record, |payload| {
                let (first, payload) = payload.split_at_mut(PLACE);
                first.copy_from_slice(&short.to_le_bytes());
                let rest = head.iter().chain(bytes).skip(place * share);
                for (to, from) in payload.iter_mut().zip(rest) {
                    *to = *from;
                }
            })?;
        }
        Ok(())
    }

    /// Reads the input of a sample into `words`, which are longer by two than the input's bytes over
    /// four.
    ///
    /// # Errors
    /// The sample is unknown or has no input ([`StoreError::NoInput`]), the buffer is too short, or the
    /// flash fails.
    pub fn read_input<'b>(
        &mut self,
        id: SampleId,
        words: &'b mut [u32],
    ) -> Result<Signal<'b>, StoreError> {
        if !self.inputs() {
            return Err(StoreError::NoInput);
        }
        self.class_of(id)?;
        let share = self.input_share();
        let out: &mut [u8] = bytemuck::cast_slice_mut(words);
        let (mut have, mut wanted, mut at) = (0, HEAD, (0, 0));
        for place in 0..=u16::MAX {
            if have >= wanted {
                break;
            }
            at = self.find_input(id, place, at)?;
            let payload = &self.medium.payload(self.buffer)[PLACE..];
            if place == 0 {
                let bytes = shape(payload).bytes().ok_or(StoreError::NoInput)?;
                wanted = bytes.saturating_add(HEAD);
                if out.len() < wanted {
                    return Err(StoreError::BufferTooSmall { needed: wanted });
                }
            }
            let count = share.min(wanted - have);
            out[have..have + count].copy_from_slice(&payload[..count]);
            have += count;
        }
        if have < wanted {
            return Err(StoreError::NoInput);
        }
        let (first, bytes) = words.split_at(HEAD / 4);
        let shape = shape(bytemuck::cast_slice(first));
        let bytes = &bytemuck::cast_slice::<u32, u8>(bytes)[..wanted - HEAD];
        match shape.channels {
            0 => Ok(Signal::Samples(bytemuck::cast_slice(bytes))),
            channels => {
                let (height, width) = (shape.height.into(), shape.width as usize);
                let image = Image::new(height, width, channels.into(), bytes);
                image.map(Signal::Image).ok_or(StoreError::NoInput)
            }
        }
    }

    /// Reads the slot at `place` of an input into the buffer, looking from `at` on; returns the place
    /// behind it.
    fn find_input(
        &mut self,
        id: SampleId,
        place: u16,
        at: (u32, u32),
    ) -> Result<(u32, u32), StoreError> {
        let (pages, slots) = (self.medium.pages, self.medium.slots);
        let wanted = |r: Record| r.kind == Kind::Input && r.number == id.0;
        for i in 0..pages * slots {
            let found = (at.0 * slots + at.1 + i) % (pages * slots);
            let (page, slot) = (found / slots, found % slots);
            if self.page(page).is_some()
                && self.medium.peek(page, slot)?.is_some_and(wanted)
                && let Slot::Record(record) = self.medium.slot(page, slot, self.buffer)?
                && wanted(record)
                && self.medium.payload(self.buffer).first_chunk() == Some(&place.to_le_bytes())
            {
                return Ok((page, slot + 1));
            }
        }
        Err(StoreError::NoInput)
    }

    /// The sample with the next number, for a walk through all of them from `SampleId(0)` on. Costs a
    /// look at every slot.
    ///
    /// # Errors
    /// The flash fails.
    pub fn next_sample(&mut self, after: SampleId) -> Result<Option<SampleId>, StoreError> {
        let mut next: Option<SampleId> = None;
        self.visit(after.0.saturating_add(1), |id, _, _| {
            if next.is_none_or(|other| id < other) {
                next = Some(id);
            }
        })?;
        Ok(next)
    }
}

fn head(channels: u8, height: u16, width: u32) -> [u8; HEAD] {
    let (height, width) = (height.to_le_bytes(), width.to_le_bytes());
    let mut head = [channels, 0, 0, 0, 0, 0, 0, 0];
    head[2..4].copy_from_slice(&height);
    head[4..].copy_from_slice(&width);
    head
}

struct Shape {
    channels: u8,
    height: u16,
    width: u32,
}

/// What an input's first bytes say.
fn shape(bytes: &[u8]) -> Shape {
    let mut head = [0; HEAD];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    Shape {
        channels: head[0],
        height: u16::from_le_bytes([head[2], head[3]]),
        width: u32::from_le_bytes([head[4], head[5], head[6], head[7]]),
    }
}

impl Shape {
    fn bytes(&self) -> Option<usize> {
        let width = self.width as usize;
        match self.channels {
            0 => width.checked_mul(2),
            channels => width
                .checked_mul(self.height.into())?
                .checked_mul(channels.into()),
        }
    }
}
