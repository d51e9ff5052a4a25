//! The sum of two tensors, each with its own scale; may write over either.

use super::Layer;
use crate::pack::ElementKind;
use crate::quantize::Element;

/// `(a * first_multiplier + b * second_multiplier + bias) / 2^shift`, rounded half up, in 64-bit
/// integers; zero points are folded into the bias and the output's is added here.
pub(super) fn run(layer: &Layer<'_>, arena: &mut [i8]) {
    match (layer.input.element_kind(), layer.output.element_kind()) {
        (ElementKind::Int8, ElementKind::Int8) => add::<i8, i8>(layer, arena),
        (ElementKind::Int8, ElementKind::Int16) => add::<i8, i16>(layer, arena),
        (ElementKind::Int16, _) => add::<i16, i16>(layer, arena),
    }
}

fn add<I: Element, O: Element>(layer: &Layer<'_>, arena: &mut [i8]) {
    let record = layer.record;
    let Some(second) = layer.pack.tensors().get(usize::from(record.second_input)) else {
        return;
    };
    let places = [layer.input.place(), second.place(), layer.output.place()].map(|p| p.start);
    let (a, b) = (
        i64::from(record.first_multiplier),
        i64::from(record.second_multiplier),
    );
    let constant = i64::from(record.bias) + (1 << (record.shift - 1));
    let zero_point = i64::from(layer.output.zero_point);
    let (low, high) = (i64::from(record.low), i64::from(record.high));
    // In place or apart: element i is read from both before it is written.
    for i in 0..layer.input.len() {
        let x: I = read(arena, places[0], i);
        let y: I = read(arena, places[1], i);
        let sum = i64::from(x.get()) * a + i64::from(y.get()) * b + constant;
        let value = ((sum >> record.shift) + zero_point).clamp(low, high);
        write(arena, places[2], i, O::put(value as i32));
    }
}

#[inline(always)]
fn read<T: Element>(arena: &[i8], place: usize, i: usize) -> T {
    let from = place + i * size_of::<T>();
    bytemuck::pod_read_unaligned(bytemuck::cast_slice(&arena[from..from + size_of::<T>()]))
}

#[inline(always)]
fn write<T: Element>(arena: &mut [i8], place: usize, i: usize, value: T) {
    let from = place + i * size_of::<T>();
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut arena[from..from + size_of::<T>()]);
    bytes.copy_from_slice(bytemuck::bytes_of(&value));
}
