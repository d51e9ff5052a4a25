//! The inner loops that a processor does its own way. Everything here works on scratch that the
//! same processor laid out, so the layout is its own affair; the values are not: every
//! implementation gives the bits of [`Portable`].

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(armv7em)]
mod armv7em;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod direct;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(super) use portable::{Portable, put};

use super::Layer;
use crate::pack::{Channel, LayerKind};
use crate::quantize::{OutputStage, Sum};

/// One or four windows in the scratch, and the filters of one group that look at all of them.
#[derive(Clone, Copy)]
#[allow(dead_code)] // Not every processor finishes outputs itself.
pub(super) struct Tile<'a> {
    /// The windows, as [`Arch::lay`] laid them.
    pub windows: &'a [u32],
    /// Windows that lie there: 1 or 4.
    pub lanes: usize,
    /// Values of a window, a multiple of 4.
    pub depth: usize,
    /// `[out / 4][k / 4][4 outputs][4 k]`.
    pub weights: &'a [i8],
    /// One an output channel of the group.
    pub channels: &'a [Channel],
    /// How sums become outputs; `channels` above are the group's own.
    pub stage: &'a OutputStage<'a>,
    /// From one pixel's outputs to the next's, in elements.
    pub stride: usize,
}

/// The planes of a few channels in the scratch, padding included, and the filters over them.
pub(super) struct Planes<'a> {
    /// As [`Arch::lay_row`] laid them.
    pub planes: &'a [u32],
    /// Elements of one plane, and of one of its rows.
    pub size: usize,
    pub columns: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows and columns of output.
    pub height: usize,
    pub width: usize,
    /// Channels that are there, and the first of them.
    pub count: usize,
    pub first: usize,
    /// `[kh][kw][out]`, all output channels.
    pub weights: &'a [i8],
    pub stage: &'a OutputStage<'a>,
    /// int16 outputs.
    pub wide: bool,
}

/// Rows of a few neighbouring channels on their way into planes.
pub(super) struct PlaneRows {
    /// The first plane, and how many.
    pub lane: usize,
    pub channels: usize,
    pub rows: usize,
    pub pixels: usize,
    /// From one pixel to the next, and from one row to the next, in the input.
    pub stride: usize,
    pub step: usize,
    /// The first element in each plane, and elements of its rows.
    pub at: usize,
    pub columns: usize,
}

/// What a processor does its own way.
pub(super) trait Arch {
    /// Channels of a depthwise layer at a time; their planes take 8 bytes an element in all.
    const GROUP: usize;

    /// Takes int8 values k = `at`.. of the window `lane`; `at` and their number are multiples of 4.
    fn lay(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]);

    /// The same for `rows` stretches of `run` values, each `step` behind the one before; they follow
    /// one another in the window.
    fn lay_rows(
        windows: &mut [u32],
        (lanes, lane): (usize, usize),
        values: &[i8],
        (run, step, rows): (usize, usize, usize),
    ) {
        for (row, values) in values.chunks(step).take(rows).enumerate() {
            Self::lay(windows, lanes, lane, row * run, &values[..run]);
        }
    }

    /// The same with int16 values, two bytes each.
    fn lay_wide(windows: &mut [u32], lanes: usize, lane: usize, at: usize, values: &[i8]);

    /// The same with one value, `count` times.
    fn fill(windows: &mut [u32], lanes: usize, lane: usize, at: usize, count: usize, value: i8);

    /// The sums of the four channels from 4 `block` on over all windows, without the bias; those of
    /// channels that are not there are 0. They wrap at 32 bits, which packs by `headstart pack` rule
    /// out.
    fn block(tile: &Tile<'_>, block: usize) -> [[i32; super::geometry::LANES]; 4];

    /// All outputs of a tile whose stage is plain and adds nothing, as int8; false where it leaves
    /// that to the caller.
    fn outputs(_tile: &Tile<'_>, _out: &mut [i8]) -> bool {
        false
    }

    /// The same with multipliers of their own for `negative` sums.
    fn outputs_leaky(_tile: &Tile<'_>, _negative: &[i32], _out: &mut [i8]) -> bool {
        false
    }

    /// The same where the stage adds `sum` times what `out` holds.
    fn outputs_added(_tile: &Tile<'_>, _sum: &Sum, _out: &mut [i8]) -> bool {
        false
    }

    /// Makes all of the planes `value`.
    fn blank(planes: &mut [u32], value: i8);

    /// Takes `pixels` of a row into planes at element `at`: `lanes` says which plane is the first and
    /// how many values a pixel has for them; the next pixel's are `stride` further on.
    fn lay_row(
        planes: &mut [u32],
        size: usize,
        lanes: (usize, usize),
        at: usize,
        values: &[i8],
        stride: usize,
        pixels: usize,
    );

    /// The same for `rows` rows, which begin `step` apart in `values` and a row of the plane apart
    /// there.
    fn lay_plane(planes: &mut [u32], size: usize, plane: &PlaneRows, values: &[i8]) {
        for row in 0..plane.rows {
            Self::lay_row(
                planes,
                size,
                (plane.lane, plane.channels),
                plane.at + row * plane.columns,
                &values[row * plane.step..],
                plane.stride,
                plane.pixels,
            );
        }
    }

    /// Slides the filters over the planes. `out` starts at the first row's first pixel.
    fn convolve(planes: &Planes<'_>, out: &mut [i8]);
}

/// Runs a layer as this processor does it best.
pub(super) fn native<const BITS: u32>(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]) {
    #[cfg(armv7em)]
    return super::dispatch::<BITS, armv7em::Armv7em>(kind, layer, arena);
    #[cfg(target_arch = "x86_64")]
    match x86_64::level() {
        x86_64::Level::Portable => super::dispatch::<BITS, Portable>(kind, layer, arena),
        level => x86_64::run::<BITS>(level, kind, layer, arena),
    }
    #[cfg(target_arch = "aarch64")]
    aarch64::run::<BITS>(kind, layer, arena);
    #[cfg(not(any(armv7em, target_arch = "x86_64", target_arch = "aarch64")))]
    super::dispatch::<BITS, Portable>(kind, layer, arena);
}
