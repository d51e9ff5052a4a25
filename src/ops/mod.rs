//! The layers, one file a kind: portable Rust on integers.
//!
//! Activations are channels-last (`[height][width][channels]`), all in one arena whose plan the
//! pack carries. A layer gets its input and its output as slices that [`crate::EncoderPack::new`]
//! has proved to be apart.

mod add;
mod conv;
mod dense;
mod depthwise;
mod pool;

use core::ops::Range;

use crate::pack::{EncoderPack, LayerKind, LayerRecord, TensorRecord};
use crate::quantize::OutputStage;

/// A layer on its way through the kernels.
pub struct Layer<'a> {
    pack: EncoderPack<'a>,
    record: &'a LayerRecord,
    input: &'a TensorRecord,
    output: &'a TensorRecord,
}

impl<'a> Layer<'a> {
    /// Layer `record` of `pack`; `None` where it names no tensor, which a checked pack never does.
    pub fn new(pack: EncoderPack<'a>, record: &'a LayerRecord) -> Option<Self> {
        let input = pack.tensors().get(usize::from(record.input))?;
        let output = pack.tensors().get(usize::from(record.output))?;
        Some(Layer {
            pack,
            record,
            input,
            output,
        })
    }

    fn weights(&self, count: usize) -> &'a [i8] {
        self.pack.bytes_at(self.record.weights_at, count)
    }

    fn biases(&self) -> &'a [i32] {
        self.pack
            .words_at(self.record.biases_at, usize::from(self.output.channels))
    }

    fn stage(&self) -> OutputStage<'a> {
        let channels = usize::from(self.output.channels);
        let negative = self.record.negative_multipliers_at;
        OutputStage {
            multipliers: self.pack.words_at(self.record.multipliers_at, channels),
            negative_multipliers: self
                .pack
                .words_at(negative, if negative == 0 { 0 } else { channels }),
            shift: u32::from(self.record.shift),
            zero_point: i32::from(self.output.zero_point),
            low: i32::from(self.record.low),
            high: i32::from(self.record.high),
        }
    }

    /// The stage of a layer without weights: one multiplier for all channels.
    fn scalar(&self) -> i32 {
        self.pack
            .words_at(self.record.multipliers_at, 1)
            .first()
            .copied()
            .unwrap_or(0)
    }

    /// Splits the arena into this layer's input and output.
    fn split<'m>(&self, arena: &'m mut [i8]) -> (&'m [i8], &'m mut [i8]) {
        split(arena, self.input.place(), self.output.place())
    }
}

/// Two ranges of the arena that do not overlap.
fn split(arena: &mut [i8], input: Range<usize>, output: Range<usize>) -> (&[i8], &mut [i8]) {
    if input.end <= output.start {
        let (low, high) = arena.split_at_mut(output.start);
        (&low[input], &mut high[..output.end - output.start])
    } else {
        let (low, high) = arena.split_at_mut(input.start);
        (&high[..input.end - input.start], &mut low[output])
    }
}

/// Hands the output to `run` as what it is: int8 or int16.
macro_rules! with_output {
    ($layer:expr, $output:expr, |$out:ident| $run:expr) => {
        match $layer.output.element_kind() {
            ElementKind::Int8 => {
                let $out: &mut [i8] = $output;
                $run
            }
            ElementKind::Int16 => {
                let $out: &mut [i16] = bytemuck::try_cast_slice_mut($output).unwrap_or(&mut []);
                $run
            }
        }
    };
}
use with_output;

/// The sum of products; wraps at 32 bits, which packs by `headstart pack` rule out.
#[inline(always)]
fn dot(a: &[i8], b: &[i8]) -> i32 {
    let products = a.iter().zip(b).map(|(&x, &w)| i32::from(x) * i32::from(w));
    products.fold(0, i32::wrapping_add)
}

/// The part of a window of `kernel` taps, `dilation` 1, that lies inside `0..size`.
#[inline(always)]
fn inside(output: usize, stride: u16, pad: u16, kernel: u16, size: u16) -> Range<usize> {
    let start = output * usize::from(stride);
    let (pad, kernel, size) = (usize::from(pad), usize::from(kernel), usize::from(size));
    let first = pad.saturating_sub(start).min(kernel);
    let last = (size + pad).saturating_sub(start).min(kernel);
    first..last.max(first)
}

/// Which kernels are linked: a smaller set is a smaller firmware.
pub trait Kernels {
    /// Whether layers of `kind` can run.
    fn has(kind: LayerKind) -> bool;
    /// Runs one layer in the arena.
    fn run(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]);
}

/// The kernels whose bits (`1 << LayerKind`) are set; [`kernels!`](crate::kernels) spells it.
pub struct KernelSet<const BITS: u32>;

/// Every kernel.
pub type AllKernels = KernelSet<{ u32::MAX }>;

impl<const BITS: u32> Kernels for KernelSet<BITS> {
    fn has(kind: LayerKind) -> bool {
        BITS & (1 << kind as u32) != 0
    }

    fn run(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]) {
        // The tests are constants: what is not in the set is not in the binary.
        match kind {
            LayerKind::Conv if Self::has(LayerKind::Conv) => conv::run(layer, arena),
            LayerKind::Depthwise if Self::has(LayerKind::Depthwise) => depthwise::run(layer, arena),
            LayerKind::Dense if Self::has(LayerKind::Dense) => dense::run(layer, arena),
            LayerKind::AvgPool if Self::has(LayerKind::AvgPool) => pool::average(layer, arena),
            LayerKind::MaxPool if Self::has(LayerKind::MaxPool) => pool::maximum(layer, arena),
            LayerKind::Add if Self::has(LayerKind::Add) => add::run(layer, arena),
            _ => {}
        }
    }
}

/// A set of kernels as a type: `PackedEncoder<kernels!(Conv, Dense, AvgPool)>`. `headstart pack`
/// prints the line that a pack needs.
///
/// ```
/// use headstart::{kernels, ops::Kernels, pack::LayerKind};
/// type Small = kernels!(Conv, Dense);
/// assert!(Small::has(LayerKind::Conv) && !Small::has(LayerKind::Add));
/// ```
#[macro_export]
macro_rules! kernels {
    ($($kind:ident),+ $(,)?) => {
        $crate::ops::KernelSet<{ 0 $(| (1 << $crate::pack::LayerKind::$kind as u32))+ }>
    };
}

#[cfg(test)]
mod tests;
