//! Snapshots: statistics in slots.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

use super::medium::{Kind, Medium, Record, Slot};
use super::{Drop, SampleLog, StoreError};
use crate::statistics::{SnapshotError, Statistics};

impl<F: NorFlash> SampleLog<'_, F> {
    pub(super) fn write_parts(
        &mut self,
        statistics: &Statistics<'_>,
        number: u32,
    ) -> Result<(), StoreError> {
        let size = self.medium.slot_bytes() - 12;
        let total = statistics.saved_bytes();
        let parts = total.div_ceil(size);
        if parts > usize::from(u16::MAX) {
            return Err(StoreError::Full);
        }
        for part in 0..parts {
            let kind = match part + 1 == parts {
                true => Kind::LastPart,
                false => Kind::Part,
            };
            let record = Record {
                kind,
                class: part as u16,
                number,
            };
            self.append_part(
                statistics,
                record,
                part * size..total.min((part + 1) * size),
            )?;
        }
        Ok(())
    }

    /// Writes the bytes `range` of a snapshot into a slot.
    pub(super) fn append_part(
        &mut self,
        statistics: &Statistics<'_>,
        record: Record,
        range: Range<usize>,
    ) -> Result<(), StoreError> {
        self.append_with(record, |payload| {
            let (mut at, size) = (0, payload.len());
            statistics.saved(|bytes| {
                let from = range.start.saturating_sub(at).min(bytes.len());
                let to = range.end.saturating_sub(at).min(bytes.len());
                if from < to {
                    let place = at + from - range.start;
                    payload[place..(place + to - from).min(size)].copy_from_slice(&bytes[from..to]);
                }
                at += bytes.len();
            });
        })
    }

    /// Reads a snapshot's parts in their order; each most often lies behind the one before.
    pub(super) fn read_parts(
        &mut self,
        statistics: &mut Statistics<'_>,
        number: u32,
    ) -> Result<(), StoreError> {
        let (mut part, mut at, mut used) = (0u16, (0, 0), usize::MAX);
        let SampleLog { medium, buffer, .. } = self;
        let size = medium.slot_bytes() - 12;
        statistics.restore_pieces(|out: &mut [u8]| -> Result<(), StoreError> {
            let mut filled = 0;
            while filled < out.len() {
                if used >= size {
                    at = find_part(medium, buffer, number, part, at)?;
                    part = part.saturating_add(1);
                    used = 0;
                }
                let count = (size - used).min(out.len() - filled);
                let bytes = &medium.payload(buffer)[used..used + count];
                out[filled..filled + count].copy_from_slice(bytes);
                filled += count;
                used += count;
            }
            Ok(())
        })
    }
}

/// Reads part `part` of a snapshot into the buffer, looking from `at` on; returns the place behind it.
fn find_part<F: NorFlash>(
    medium: &mut Medium<F>,
    buffer: &mut [u8],
    number: u32,
    part: u16,
    at: (u32, u32),
) -> Result<(u32, u32), StoreError> {
    let (pages, slots) = (medium.pages, medium.slots);
    let first = at.0 * slots + at.1;
    for i in 0..pages * slots {
        let place = (first + i) % (pages * slots);
        let (page, slot) = (place / slots, place % slots);
        let wanted = |record: Record| {
            Drop::Parts.takes(record) && (record.number, record.class) == (number, part)
        };
        if medium.peek(page, slot)?.is_some_and(wanted)
            && let Slot::Record(record) = medium.slot(page, slot, buffer)?
            && wanted(record)
        {
            return Ok((page, slot + 1));
        }
    }
    Err(StoreError::Snapshot(SnapshotError::NotStatistics))
}
