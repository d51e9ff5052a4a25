//! The arena while a layer runs: its scratch apart from the rest.

use core::ops::Range;

use crate::pack::{ElementKind, TensorRecord};

/// A layer's scratch, and what lies below and above it. Tensors never reach into the scratch.
pub(super) struct Memory<'m> {
    low: &'m mut [i8],
    pub(super) scratch: &'m mut [u32],
    high: &'m mut [i8],
    /// Where `high` starts in the arena.
    high_at: usize,
}

impl<'m> Memory<'m> {
    /// Cuts `bytes` of scratch out of the arena.
    pub(super) fn new(arena: &'m mut [i8], at: usize, bytes: usize) -> Self {
        let (low, rest) = arena.split_at_mut(at);
        let (scratch, high) = rest.split_at_mut(bytes);
        Memory {
            low,
            // The arena is made of words, and the scratch starts at a multiple of 8.
            scratch: bytemuck::try_cast_slice_mut(scratch).unwrap_or(&mut []),
            high,
            high_at: at + bytes,
        }
    }

    /// A tensor to read while the scratch is written.
    #[inline(always)]
    pub(super) fn input(&mut self, place: Range<usize>) -> (&[i8], &mut [u32]) {
        let input = if place.end <= self.low.len() {
            &self.low[place]
        } else {
            &self.high[place.start - self.high_at..place.end - self.high_at]
        };
        (input, self.scratch)
    }

    /// A tensor to write while the scratch is read.
    #[inline(always)]
    pub(super) fn output(&mut self, place: Range<usize>) -> (&mut [i8], &[u32]) {
        let output = if place.end <= self.low.len() {
            &mut self.low[place]
        } else {
            &mut self.high[place.start - self.high_at..place.end - self.high_at]
        };
        (output, self.scratch)
    }

    /// An element of a tensor, widened.
    #[inline(always)]
    pub(super) fn read(&self, tensor: &TensorRecord, i: usize) -> i32 {
        let at = tensor.offset as usize + i * usize::from(tensor.element);
        match tensor.element_kind() {
            ElementKind::Int8 => i32::from(self.byte(at)),
            ElementKind::Int16 => {
                let bytes = [self.byte(at) as u8, self.byte(at + 1) as u8];
                i32::from(i16::from_le_bytes(bytes))
            }
        }
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> i8 {
        if at < self.low.len() {
            self.low[at]
        } else {
            self.high[at - self.high_at]
        }
    }
}
