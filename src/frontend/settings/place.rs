//! Where the front end's memory goes in the arena.

use core::ops::Range;

/// What the layers of a pack take of the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// Tensors and scratch together, from 0 on.
    pub bytes: usize,
    /// The input tensor's bytes.
    pub input: Range<usize>,
    /// D, the length of an embedding.
    pub dim: usize,
}

/// The places of a clip's memory, and the arena that holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub scratch: usize,
    pub kept: usize,
    pub arena: usize,
}

impl Places {
    /// `clip` bytes of frames of `windows` windows. The scratch shares bytes with what the layers
    /// write later; what is kept while they run stands behind them.
    pub fn new(arena: &Arena, windows: usize, scratch: usize, clip: usize) -> Places {
        if windows == 1 {
            let before = scratch <= arena.input.start;
            let scratch_at = if before {
                0
            } else {
                arena.input.end.next_multiple_of(8)
            };
            return Places {
                scratch: scratch_at,
                kept: 0,
                arena: arena.bytes.max(scratch_at + scratch).next_multiple_of(4),
            };
        }
        // Sums are written after the scratch is done with: it may reach into them, not the clip.
        let sums = 4 * arena.dim;
        let kept = arena
            .bytes
            .max(scratch.saturating_sub(sums))
            .next_multiple_of(8);
        Places {
            scratch: 0,
            kept,
            arena: (kept + sums + clip).next_multiple_of(4),
        }
    }
}
