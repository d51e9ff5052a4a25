//! The layers, one file a kind, on integers.
//!
//! Activations are channels-last (`[height][width][channels]`), all in one arena whose plan the
//! pack carries. [`crate::EncoderPack::new`] has proved that a layer's tensors and its scratch lie
//! in the arena, and that its output overwrites nothing that is still to be read.
//!
//! A file here says what is computed, in what order and from which bytes. `arch/` has the few inner
//! loops that a processor does its own way; each equals the portable ones to the bit.

mod add;
mod arch;
mod clamp;
mod concat;
mod conv;
mod depthwise;
pub mod geometry;
mod lookup;
mod memory;
mod mul;
mod pad;
mod pool;

use core::ops::Range;

use arch::{Arch, Portable};
use memory::Memory;

use crate::frontend::FrontEndKind;
use crate::pack::{Channel, ElementKind, EncoderPack, LayerKind, LayerRecord, TensorRecord};
use crate::quantize::{OutputStage, Sum};

/// A layer on its way through the kernels.
pub struct Layer<'a> {
    pack: EncoderPack<'a>,
    record: &'a LayerRecord,
    input: &'a TensorRecord,
    second: Option<&'a TensorRecord>,
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
            second: pack.tensors().get(usize::from(record.second_input)),
            output,
        })
    }

    /// The int8 weights, or what else a layer keeps there.
    fn weights(&self, count: usize) -> &'a [i8] {
        self.pack.bytes_at(self.record.weights_at, count)
    }

    fn channels(&self) -> &'a [Channel] {
        let count = usize::from(self.output.channels);
        self.pack.channels_at(self.record.channels_at, count)
    }

    fn stage(&self) -> OutputStage<'a> {
        let record = self.record;
        let negative = record.negative_multipliers_at;
        let count = usize::from(self.output.channels);
        OutputStage {
            channels: self.channels(),
            negative_multipliers: self
                .pack
                .words_at(negative, if negative == 0 { 0 } else { count }),
            shift: u32::from(record.shift),
            zero_point: i32::from(self.output.zero_point),
            low: i32::from(record.low),
            high: i32::from(record.high),
            sum: record.adds().then_some(Sum {
                multiplier: record.second_multiplier,
                bias: record.bias,
                up: u32::from(record.add_up),
                shift: u32::from(record.add_shift),
            }),
        }
    }

    /// The arena with this layer's scratch cut out.
    fn memory<'m>(&self, arena: &'m mut [i8]) -> Memory<'m> {
        let bytes = geometry::scratch_bytes(self.record, self.input, self.output);
        Memory::new(arena, self.record.scratch_at as usize, bytes)
    }
}

/// An activation's element, widened. In place or apart, element i of a layer that works value by
/// value is read before it is written.
#[inline(always)]
fn read(arena: &[i8], tensor: &TensorRecord, i: usize) -> i32 {
    let from = tensor.offset as usize;
    match tensor.element_kind() {
        ElementKind::Int8 => i32::from(arena[from + i]),
        ElementKind::Int16 => {
            let at = from + 2 * i;
            i32::from(i16::from_le_bytes([arena[at] as u8, arena[at + 1] as u8]))
        }
    }
}

/// Writes an element that was clamped to its type's range.
#[inline(always)]
fn write(arena: &mut [i8], tensor: &TensorRecord, i: usize, value: i32) {
    let from = tensor.offset as usize;
    match tensor.element_kind() {
        ElementKind::Int8 => arena[from + i] = value as i8,
        ElementKind::Int16 => {
            let [low, high] = (value as i16).to_le_bytes();
            let at = from + 2 * i;
            (arena[at], arena[at + 1]) = (low as i8, high as i8);
        }
    }
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
    /// Whether front ends of `kind` can.
    fn has_front_end(kind: FrontEndKind) -> bool;
    /// Runs one layer in the arena.
    fn run(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]);
}

/// The kernels whose bits (`1 << LayerKind`, `1 << FrontEndKind`) are set, as this processor does
/// them best; [`kernels!`](crate::kernels) spells it.
pub struct KernelSet<const BITS: u32>;

/// Every kernel.
pub type AllKernels = KernelSet<{ u32::MAX }>;

/// The same in portable Rust: what every other kernel must equal to the bit.
pub struct PortableKernels<const BITS: u32 = { u32::MAX }>;

const fn in_set(bits: u32, kind: LayerKind) -> bool {
    bits & (1 << kind as u32) != 0
}

/// A sensor's front end is small and always there.
const fn in_front(bits: u32, kind: FrontEndKind) -> bool {
    matches!(kind, FrontEndKind::Sensor) || bits & (1 << kind as u32) != 0
}

impl<const BITS: u32> Kernels for KernelSet<BITS> {
    fn has(kind: LayerKind) -> bool {
        in_set(BITS, kind)
    }

    fn has_front_end(kind: FrontEndKind) -> bool {
        in_front(BITS, kind)
    }

    fn run(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]) {
        arch::native::<BITS>(kind, layer, arena);
    }
}

impl<const BITS: u32> Kernels for PortableKernels<BITS> {
    fn has(kind: LayerKind) -> bool {
        in_set(BITS, kind)
    }

    fn has_front_end(kind: FrontEndKind) -> bool {
        in_front(BITS, kind)
    }

    fn run(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]) {
        dispatch::<BITS, Portable>(kind, layer, arena);
    }
}

/// The tests are constants: what is not in the set is not in the binary.
fn dispatch<const BITS: u32, A: Arch>(kind: LayerKind, layer: &Layer<'_>, arena: &mut [i8]) {
    match kind {
        LayerKind::Conv if in_set(BITS, LayerKind::Conv) => conv::run::<A>(layer, arena),
        LayerKind::Dense if in_set(BITS, LayerKind::Dense) => conv::run::<A>(layer, arena),
        LayerKind::Depthwise if in_set(BITS, LayerKind::Depthwise) => {
            depthwise::run::<A>(layer, arena);
        }
        LayerKind::AvgPool if in_set(BITS, LayerKind::AvgPool) => pool::average(layer, arena),
        LayerKind::MaxPool if in_set(BITS, LayerKind::MaxPool) => pool::maximum(layer, arena),
        LayerKind::Add if in_set(BITS, LayerKind::Add) => add::run(layer, arena),
        LayerKind::Mul if in_set(BITS, LayerKind::Mul) => mul::run(layer, arena),
        LayerKind::Lookup if in_set(BITS, LayerKind::Lookup) => lookup::run(layer, arena),
        LayerKind::Concat if in_set(BITS, LayerKind::Concat) => concat::run(layer, arena),
        LayerKind::Clamp if in_set(BITS, LayerKind::Clamp) => clamp::run(layer, arena),
        LayerKind::Pad if in_set(BITS, LayerKind::Pad) => pad::run(layer, arena),
        _ => {}
    }
}

/// A set of kernels as a type: `PackedEncoder<kernels!(Conv, Dense, AvgPool)>`. `headstart pack`
/// prints the line that a pack needs. Behind a semicolon the front end, where it is not a sensor's:
/// `kernels!(Conv, Dense; LogMel)`.
///
/// ```
/// use headstart::{frontend::FrontEndKind, kernels, ops::Kernels, pack::LayerKind};
/// type Small = kernels!(Conv, Dense);
/// assert!(Small::has(LayerKind::Conv) && !Small::has(LayerKind::Add));
/// assert!(!Small::has_front_end(FrontEndKind::Image));
/// assert!(<kernels!(Conv, Dense; Image)>::has_front_end(FrontEndKind::Image));
/// ```
#[macro_export]
macro_rules! kernels {
    ($($kind:ident),+ $(,)? $(; $($front:ident),+)?) => {
        $crate::ops::KernelSet<{
            0 $(| (1 << $crate::pack::LayerKind::$kind as u32))+
                $($(| (1 << $crate::frontend::FrontEndKind::$front as u32))+)?
        }>
    };
}

#[cfg(test)]
mod tests;
