//! What lies where in the caller's memory: the learner, names, sums, the head's words, embeddings.

use core::mem::MaybeUninit;

use headstart::frontend::FrontEnd;
use headstart::{AutoHead, EncoderPack, Label, Statistics};

use crate::{Sizes, Status, Tier};

/// `HS_LEARNER_BYTES`: room for the learner's struct, whichever compiler lays it out.
pub const LEARNER_BYTES: usize = 80 * size_of::<usize>() + 160;

/// No part is longer, so that no sum below overflows where a pointer has 32 bits.
const LARGEST: u64 = i32::MAX as u64;

/// Sizes in bytes, checked against the pack.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub sizes: Sizes,
    pub classes: usize,
}

/// The caller's memory, cut up.
pub(crate) struct Places<'a> {
    pub learner: &'a mut [u64],
    pub labels: &'a mut [Label],
    pub words: &'a mut [i32],
    pub head: &'a mut [f32],
    pub embedding: &'a mut [i8],
}

impl Plan {
    pub fn new(pack: &EncoderPack<'_>, max_classes: u32, tier: u32) -> Result<Self, Status> {
        let tier = Tier::new(tier).ok_or(Status::BadArgument)?;
        let (dim, classes) = (pack.dim(), max_classes as usize);
        // Above all that follows: two triangles, two rows and a name for each class, the prior.
        let side = dim as u64 + u64::from(max_classes) + 64;
        if max_classes == 0 || side * side * 16 > LARGEST {
            return Err(Status::BadArgument);
        }
        let rank = pack.background().map_or(0, |b| b.rank);
        let words = match tier {
            Tier::Gram => Statistics::gram_words(dim, classes),
            Tier::Prototype | Tier::Means => Statistics::words(dim, classes),
        };
        let head = match tier {
            Tier::Prototype => 0,
            Tier::Means | Tier::Gram => AutoHead::words(dim, classes, rank),
        };
        let snapshot = match tier {
            Tier::Gram => Statistics::gram_snapshot_bytes(dim, classes),
            Tier::Prototype | Tier::Means => Statistics::snapshot_bytes(dim, classes),
        };
        let state = 4 * words + classes * size_of::<Label>();
        let memory = (LEARNER_BYTES + state + 4 * head + 2 * dim).next_multiple_of(8);
        // Samples of sound are one channel, and a clip stands alone; pictures are not for C yet.
        let (channels, hop) = match pack.frontend() {
            FrontEnd::Sensor(sensor) => (sensor.channels, sensor.hop),
            FrontEnd::LogMel(log_mel) => (1, log_mel.len()),
            FrontEnd::Image(_) => return Err(Status::PackInvalid),
        };
        Ok(Plan {
            sizes: Sizes {
                window: pack.frontend().input_len() as u32,
                channels: channels as u32,
                hop: hop as u32,
                dim: dim as u32,
                rank: rank as u32,
                arena: pack.arena_bytes().next_multiple_of(8) as u32,
                memory: memory as u32,
                learner: LEARNER_BYTES as u32,
                state: state as u32,
                head: 4 * head as u32,
                snapshot: snapshot as u32,
            },
            classes,
        })
    }

    /// `memory` has [`Sizes::memory`] zero bytes.
    pub fn cut<'a>(&self, memory: &'a mut [u64]) -> Option<Places<'a>> {
        let (learner, rest) = memory.split_at_mut_checked(LEARNER_BYTES / 8)?;
        let names = self.classes * size_of::<Label>();
        let (labels, rest) =
            bytemuck::cast_slice_mut::<u64, u8>(rest).split_at_mut_checked(names)?;
        let words = self.sizes.state as usize - names;
        let (words, rest) = rest.split_at_mut_checked(words)?;
        let (head, rest) = rest.split_at_mut_checked(self.sizes.head as usize)?;
        let embedding = rest.get_mut(..2 * self.sizes.dim as usize)?;
        Some(Places {
            learner,
            labels: names_in(labels)?,
            words: bytemuck::try_cast_slice_mut(words).ok()?,
            head: bytemuck::try_cast_slice_mut(head).ok()?,
            embedding: bytemuck::cast_slice_mut(embedding),
        })
    }
}

/// Empty names in `bytes`, which are aligned for them and a whole number of them long.
fn names_in(bytes: &mut [u8]) -> Option<&mut [Label]> {
    // SAFETY: MaybeUninit takes any bits.
    let (before, labels, behind) = unsafe { bytes.align_to_mut::<MaybeUninit<Label>>() };
    if !before.is_empty() || !behind.is_empty() {
        return None;
    }
    for label in labels.iter_mut() {
        label.write(Label::new());
    }
    let (labels, count) = (labels.as_mut_ptr().cast::<Label>(), labels.len());
    // SAFETY: each was written just now, and `labels` borrowed `bytes` mutably.
    Some(unsafe { core::slice::from_raw_parts_mut(labels, count) })
}
