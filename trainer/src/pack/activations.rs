//! Every activation of a pack beside the same one of the float graph.

use headstart::pack::{ElementKind, TensorRecord};
use headstart::{EncoderPack, PackedEncoder};
use rayon::prelude::*;

use super::search::Packed;
use crate::encoder_file::EncoderFile;
use crate::files::Aligned;
use crate::items::Owned;

/// The activations of one input, a list a tensor, values channels last.
pub(super) type Activations = Vec<Vec<f32>>;

/// What `of` makes of float and packed activations, for each input.
pub(super) fn compare<R: Send>(
    encoder: &EncoderFile,
    packed: &Packed,
    windows: &[Owned],
    of: impl Fn(Activations, Activations) -> R + Sync + Send,
) -> anyhow::Result<Vec<R>> {
    let aligned = Aligned::new(&packed.bytes);
    let pack = EncoderPack::new(aligned.bytes())?;
    let stretch = windows.len().div_ceil(rayon::current_num_threads()).max(1);
    let parts = windows.par_chunks(stretch).map(|windows| {
        let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
        let mut device: PackedEncoder = PackedEncoder::new(pack, &mut arena)?;
        let mut results = Vec::with_capacity(windows.len());
        for window in windows {
            // Of several windows the last is what stays to be seen.
            let input = inputs(encoder, window)?.pop().unwrap_or_default();
            let mut values = vec![Vec::new(); pack.tensors().len()];
            values[0] = rounded(&pack.tensors()[0], &input);
            device.run(window.signal()?, |layer, arena| {
                let tensor = usize::from(pack.layers()[layer].output);
                values[tensor] = numbers(&pack.tensors()[tensor], arena);
            })?;
            results.push(of(packed.graph.run(input), values));
        }
        Ok(results)
    });
    let parts: Vec<Vec<R>> = parts.collect::<anyhow::Result<_>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// A signal's windows as the graph takes them, channels last.
pub(super) fn inputs(encoder: &EncoderFile, signal: &Owned) -> anyhow::Result<Vec<Vec<f32>>> {
    let values = encoder.frontend.inputs(signal.signal()?)?;
    let size: usize = encoder.input.shape.iter().product();
    Ok(values.chunks_exact(size).map(<[f32]>::to_vec).collect())
}

/// The numbers that a tensor's integers stand for.
fn numbers(tensor: &TensorRecord, arena: &[i8]) -> Vec<f32> {
    let bytes = &arena[tensor.place()];
    let zero = i32::from(tensor.zero_point);
    let number = |integer: i32| (integer - zero) as f32 * tensor.scale;
    match tensor.element_kind() {
        ElementKind::Int8 => bytes.iter().map(|&v| number(v.into())).collect(),
        ElementKind::Int16 => bytes
            .chunks_exact(2)
            .map(|b| number(i16::from_le_bytes([b[0] as u8, b[1] as u8]).into()))
            .collect(),
    }
}

/// What the front end leaves of an input in int8.
fn rounded(tensor: &TensorRecord, values: &[f32]) -> Vec<f32> {
    let zero = f32::from(tensor.zero_point);
    let integer = |v: &f32| (v / tensor.scale + zero).round().clamp(-128.0, 127.0);
    values
        .iter()
        .map(|v| (integer(v) - zero) * tensor.scale)
        .collect()
}
