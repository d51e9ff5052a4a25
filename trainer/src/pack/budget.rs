//! Whether a pack meets what the device has, and what is to blame where it does not.

use headstart::EncoderPack;
use headstart::ops::geometry;

use crate::files::Aligned;

/// Fails where the pack takes more arena or flash than it may, naming the layer that asks for most.
pub(super) fn check(bytes: &[u8], ram: Option<usize>, flash: Option<usize>) -> anyhow::Result<()> {
    let aligned = Aligned::new(bytes);
    let pack = EncoderPack::new(aligned.bytes())?;
    let mut faults = Vec::new();
    if let Some(ram) = ram.filter(|&ram| pack.arena_bytes() > ram) {
        let (index, live) = hungriest(&pack);
        faults.push(format!(
            "it needs {} bytes of RAM, {} more than {ram}: layer {} ({}) needs {live} at once",
            pack.arena_bytes(),
            pack.arena_bytes() - ram,
            index + 1,
            named(&pack, index),
        ));
    }
    if let Some(flash) = flash.filter(|&flash| bytes.len() > flash) {
        let (index, weights) = heaviest(&pack);
        faults.push(format!(
            "it needs {} bytes of flash, {} more than {flash}: layer {} ({}) has {weights} of weights",
            bytes.len(),
            bytes.len() - flash,
            index + 1,
            named(&pack, index),
        ));
    }
    anyhow::ensure!(
        faults.is_empty(),
        "the pack misses its budget: {}",
        faults.join("; ")
    );
    Ok(())
}

fn named(pack: &EncoderPack<'_>, index: usize) -> String {
    let layer = &pack.layers()[index];
    let shape = |t: u16| {
        let t = &pack.tensors()[usize::from(t)];
        format!("{}x{}x{}", t.height, t.width, t.channels)
    };
    let kind = layer.kind().map_or("?", |k| k.name());
    format!("{kind} {} -> {}", shape(layer.input), shape(layer.output))
}

/// The layer whose tensors and scratch reach furthest, and how far.
fn hungriest(pack: &EncoderPack<'_>) -> (usize, usize) {
    let tensors = pack.tensors();
    let reach = |(i, layer): (usize, &headstart::pack::LayerRecord)| {
        let (input, output) = (
            &tensors[usize::from(layer.input)],
            &tensors[usize::from(layer.output)],
        );
        let scratch = geometry::scratch_bytes(layer, input, output);
        let apart = input.bytes() + output.bytes();
        let together = match geometry::least_gap(layer, input, output) {
            _ if geometry::takes_place(layer, input, output) => output.bytes(),
            Some(gap) => output.bytes().max(gap + input.bytes()).min(apart),
            None => apart,
        };
        (i, together + scratch)
    };
    let layers = pack.layers().iter().enumerate().map(reach);
    layers.max_by_key(|&(_, bytes)| bytes).unwrap_or((0, 0))
}

fn heaviest(pack: &EncoderPack<'_>) -> (usize, usize) {
    let tensors = pack.tensors();
    let weights = |(i, layer): (usize, &headstart::pack::LayerRecord)| {
        let (input, output) = (
            &tensors[usize::from(layer.input)],
            &tensors[usize::from(layer.output)],
        );
        let taps = usize::from(layer.kernel_height) * usize::from(layer.kernel_width);
        let bytes = match layer.kind() {
            Some(headstart::pack::LayerKind::Depthwise) => taps * usize::from(output.channels),
            Some(headstart::pack::LayerKind::Conv | headstart::pack::LayerKind::Dense) => {
                geometry::weight_bytes(layer, input, output)
            }
            _ => 0,
        };
        (i, bytes)
    };
    let layers = pack.layers().iter().enumerate().map(weights);
    layers.max_by_key(|&(_, bytes)| bytes).unwrap_or((0, 0))
}
