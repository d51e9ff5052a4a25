//! x86-64: AVX2, and AVX-512 with VNNI where the processor says at run time that it has them.
//!
//! `direct` runs most convolutions whole, with either of two inner loops. Others (int16, groups,
//! other stages) and depthwise layers go through [`Arch`].
#![allow(unsafe_code)]

mod avx2;
mod depthwise;
mod depthwise_vnni;
mod pool;
mod vnni;

use core::sync::atomic::{AtomicU8, Ordering};

use super::direct::{self, Kernel, Unsigned, eight};
use super::{Arch, PlaneRows, Planes, Tile};
use crate::ops::geometry::LANES;
use crate::ops::{Layer, dispatch, in_set};
use crate::pack::LayerKind;

/// Any x86-64 with AVX2, and perhaps VNNI. Only to be dispatched to where [`level`] says so.
struct Simd<const VNNI: bool>;

/// Runs a layer as a processor of this level does it best, which is not [`Level::Portable`].
pub(super) fn run<const BITS: u32>(
    level: Level,
    kind: LayerKind,
    layer: &Layer<'_>,
    arena: &mut [i8],
) {
    let whole = matches!(kind, LayerKind::Conv | LayerKind::Dense) && in_set(BITS, kind);
    if whole && direct::run(layer, arena, level.kernel()) {
        return;
    }
    if kind == LayerKind::AvgPool && in_set(BITS, kind) && pool::run(layer, arena) {
        return;
    }
    match level {
        Level::Vnni => dispatch::<BITS, Simd<true>>(kind, layer, arena),
        _ => dispatch::<BITS, Simd<false>>(kind, layer, arena),
    }
}

/// What this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(in crate::ops) enum Level {
    Portable = 1,
    Avx2,
    Vnni,
}

impl Level {
    fn kernel(self) -> &'static Kernel {
        match self {
            Level::Vnni => &Kernel {
                multiply: vnni::multiply,
                unsigned: Some(Unsigned {
                    flip: vnni::flip,
                    correct: vnni::correct,
                }),
            },
            _ => &Kernel {
                multiply: avx2::multiply,
                unsigned: None,
            },
        }
    }
}

cpufeatures::new!(has_avx2, "avx2");
cpufeatures::new!(has_avx512, "avx2", "avx512f", "avx512bw", "avx512vl");

/// Asks the processor once: CPUID takes microseconds in a virtual machine.
pub(in crate::ops) fn level() -> Level {
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        1 => Level::Portable,
        2 => Level::Avx2,
        3 => Level::Vnni,
        _ => {
            let level = detect();
            KNOWN.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

fn detect() -> Level {
    if has_avx512::get() && has_vnni() {
        Level::Vnni
    } else if has_avx2::get() {
        Level::Avx2
    } else {
        Level::Portable
    }
}

/// Bit 11 of leaf 7, which `cpufeatures` does not know. Asked only where AVX-512 is there, and so
/// the leaf.
#[allow(unused_unsafe)] // Later compilers have it safe.
fn has_vnni() -> bool {
    // SAFETY: every x86-64 has CPUID.
    let leaf = unsafe { core::arch::x86_64::__cpuid_count(7, 0) };
    leaf.ecx & 1 << 11 != 0
}

impl<const VNNI: bool> Arch for Simd<VNNI> {
    const GROUP: usize = eight::GROUP;

    #[inline(always)]
    fn lay(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        let to = &mut halves(windows, lanes, lane, at)[..values.len()];
        let (blocks, rest) = values.as_chunks::<16>();
        let (to, to_rest) = to.as_chunks_mut::<16>();
        for (to, block) in to.iter_mut().zip(blocks) {
            *to = block.map(i16::from);
        }
        let (to, rest) = (to_rest.as_chunks_mut::<4>().0, rest.as_chunks::<4>().0);
        for (to, block) in to.iter_mut().zip(rest) {
            *to = block.map(i16::from);
        }
    }

    fn lay_wide(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]) {
        let to: &mut [i8] = bytemuck::cast_slice_mut(halves(windows, lanes, lane, at));
        to[..values.len()].copy_from_slice(values);
    }

    #[inline(always)]
    fn fill(windows: &mut [u32], lanes: usize, lane: usize, at: usize, count: usize, value: i8) {
        halves(windows, lanes, lane, at)[..count].fill(i16::from(value));
    }

    fn block(tile: &Tile<'_>, block: usize) -> [[i32; LANES]; 4] {
        avx2::block(tile, block)
    }

    fn blank(planes: &mut [u32], value: i8) {
        planes.fill(u32::from_ne_bytes([value as u8; 4]));
    }

    fn lay_row(
        planes: &mut [u32],
        _size: usize,
        lanes: (usize, usize),
        at: usize,
        values: &[i8],
        stride: usize,
        pixels: usize,
    ) {
        eight::lay_row(planes, lanes, at, values, stride, pixels);
    }

    fn lay_plane(planes: &mut [u32], _size: usize, plane: &PlaneRows, values: &[i8]) {
        eight::lay_plane(planes, plane, values);
    }

    fn convolve(planes: &Planes<'_>, out: &mut [i8]) {
        depthwise::convolve::<VNNI>(planes, out);
    }
}

/// Values `at`.. of an int16 window; windows lie one after the other.
#[inline(always)]
fn halves(windows: &mut [u32], lanes: usize, lane: usize, at: usize) -> &mut [i16] {
    let depth = 2 * windows.len() / lanes;
    let halves: &mut [i16] = bytemuck::cast_slice_mut(windows);
    &mut halves[lane * depth + at..(lane + 1) * depth]
}

/// Holds the kernel to what its pointers rely on.
#[inline(always)]
fn check(tile: &Tile<'_>) {
    let blocks = tile.channels.len().div_ceil(4);
    assert!(2 * tile.windows.len() >= tile.lanes * tile.depth);
    assert!(tile.weights.len() >= blocks * 4 * tile.depth);
    assert!(tile.depth.is_multiple_of(4) && (tile.lanes == 1 || tile.lanes == LANES));
}
