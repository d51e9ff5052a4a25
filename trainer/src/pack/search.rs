//! The ways to quantise, one after the other, until the pack follows the float encoder well enough.

use std::fmt;
use std::mem::discriminant;

use anyhow::Context;

use super::activations::inputs;
use super::report::{self, Quality};
use super::{KEPT, Layout, Options, calibrate, layout, order, write};
use crate::encoder_file::EncoderFile;
use crate::files::Aligned;
use crate::graph::Graph;
use crate::items::Owned;
use crate::quantize::{self, Ranges, Seen};

/// What may be done about a cosine that is too low. Each builds on those before it that helped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The int8 ranges with the least squared error, the embedding in int16.
    Plain,
    /// Ranges that this part of the values lies in.
    Percentile(f64),
    /// Channels that share a scale have more alike ranges.
    Equalised,
    /// Biases that keep each channel's mean.
    Corrected,
    /// So many quarters of the activations in int16, the worst first.
    Int16(usize),
}

/// In this order: what costs nothing on the device comes first.
const STEPS: [Step; 9] = [
    Step::Plain,
    Step::Percentile(0.9999),
    Step::Percentile(0.999),
    Step::Equalised,
    Step::Corrected,
    Step::Int16(1),
    Step::Int16(2),
    Step::Int16(3),
    Step::Int16(4),
];
const QUARTERS: usize = 4;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Plain => f.write_str("plain"),
            Step::Percentile(part) => write!(f, "percentile {}", 100.0 * part),
            Step::Equalised => f.write_str("equalised"),
            Step::Corrected => f.write_str("bias corrected"),
            Step::Int16(quarters) => write!(f, "int16 {quarters}/{QUARTERS}"),
        }
    }
}

/// One step and where it led.
#[derive(Clone, Debug)]
pub struct Try {
    /// Its name.
    pub step: String,
    /// Of the pack with this step and those before it that helped.
    pub quality: Quality,
}

impl Try {
    pub(super) fn json(&self) -> serde_json::Value {
        let Quality {
            cosine, sqnr_db, ..
        } = self.quality;
        serde_json::json!({ "step": self.step, "cosine": cosine, "sqnr_db": sqnr_db })
    }
}

/// A pack, and how it came about.
pub struct Packed {
    /// The file.
    pub bytes: Vec<u8>,
    /// Where its tensors lie.
    pub layout: Layout,
    /// What its integers stand for, layers in running order.
    pub graph: Graph,
    /// Every step tried, in order; none where no cosine was asked for.
    pub tried: Vec<Try>,
    /// The steps that the pack is made with.
    pub used: Vec<String>,
}

/// How a pack is made.
#[derive(Clone)]
struct Recipe {
    steps: Vec<Step>,
    graph: Graph,
    seen: Vec<Seen>,
}

/// Tries the steps in order and keeps those that help, until the target is met.
pub fn search(
    encoder: &EncoderFile,
    windows: &[Owned],
    options: &Options,
) -> anyhow::Result<Packed> {
    let graph = Graph::read(&encoder.proto, encoder.input.shape)?;
    let seen = calibrate(encoder, &graph, windows)?;
    let mut recipe = Recipe {
        steps: Vec::new(),
        graph,
        seen,
    };
    let packer = Packer {
        encoder,
        windows,
        options,
    };
    let Some(target) = options.cosine else {
        return packer.pack(&recipe);
    };
    // The same few inputs judge every try.
    let judges = judges(windows, JUDGES);
    // Of a few outputs the direction says little: two logits have but two. Noise does.
    let few = recipe.graph.tensors[recipe.graph.embedding].len() < FEW;
    let enough = |q: &Quality| q.cosine >= target || (few && q.sqnr_db >= CLEAR_DB);
    let mut best: Option<(Packed, Quality)> = None;
    let mut tried = Vec::new();
    for step in STEPS {
        if best.as_ref().is_some_and(|(_, quality)| enough(quality)) {
            break;
        }
        let Some(next) = packer.with(&recipe, step)? else {
            continue;
        };
        let packed = packer.pack(&next)?;
        let quality = report::quality(encoder, &packed.bytes, &judges)?;
        tried.push(Try {
            step: step.to_string(),
            quality: quality.clone(),
        });
        let better = |least: &Quality| match few {
            true => quality.sqnr_db > least.sqnr_db + LEAST_GAIN_DB,
            false => quality.cosine > least.cosine + LEAST_GAIN,
        };
        if best.as_ref().is_none_or(|(_, least)| better(least)) {
            best = Some((packed, quality));
            recipe = next;
        }
    }
    let (packed, _) = best.context("there was nothing to try")?;
    Ok(Packed { tried, ..packed })
}

/// Inputs that say whether a precision is enough.
pub(super) const JUDGES: usize = 64;

/// What a step must add to be kept: to the cosine, or where outputs are few to signal over noise.
const LEAST_GAIN: f64 = 1e-4;
const LEAST_GAIN_DB: f64 = 0.1;

/// Outputs that are too few for a cosine, and the signal over noise that is asked of those instead.
const FEW: usize = 8;
const CLEAR_DB: f64 = 20.0;

/// Up to `most` inputs, spread evenly.
pub(super) fn judges(windows: &[Owned], most: usize) -> Vec<Owned> {
    let step = windows.len().div_ceil(most).max(1);
    windows.iter().step_by(step).cloned().collect()
}

/// What all tries share.
struct Packer<'p> {
    encoder: &'p EncoderFile,
    windows: &'p [Owned],
    options: &'p Options,
}

impl Packer<'_> {
    /// The recipe with one more step; nothing where that would change nothing.
    fn with(&self, recipe: &Recipe, step: Step) -> anyhow::Result<Option<Recipe>> {
        let mut next = recipe.clone();
        // A step of the same kind takes the other's place.
        next.steps
            .retain(|s| discriminant(s) != discriminant(&step));
        next.steps.push(step);
        match step {
            Step::Equalised => {
                let seen = self.pixels(&recipe.graph)?;
                (next.graph, next.seen) = quantize::equalise(&recipe.graph, &seen);
            }
            Step::Int16(_) if quantize::candidates(&next.graph, &next.seen).is_empty() => {
                return Ok(None);
            }
            _ => (),
        }
        Ok(Some(next))
    }

    fn pack(&self, recipe: &Recipe) -> anyhow::Result<Packed> {
        let steps = &recipe.steps;
        let ranges = steps.iter().find_map(|step| match step {
            Step::Percentile(part) => Some(Ranges::Percentile(*part)),
            _ => None,
        });
        let quarters = steps.iter().find_map(|step| match step {
            Step::Int16(quarters) => Some(*quarters),
            _ => None,
        });
        let (graph, seen) = (&recipe.graph, &recipe.seen);
        let candidates = match quarters {
            Some(_) => quantize::candidates(graph, seen),
            None => Vec::new(),
        };
        let int16 = &candidates[..candidates.len() * quarters.unwrap_or(0) / QUARTERS];
        let ranges = ranges.unwrap_or(Ranges::LeastError);
        let scales = quantize::scales(graph, seen, ranges, self.encoder.embedding_step, int16);
        let mut graph = graph.clone();
        let size = |tensor: usize| scales[tensor].bytes(recipe.graph.tensors[tensor].len());
        order::reorder(&mut graph, size);
        let quantised = if steps.contains(&Step::Corrected) {
            let inputs = self.unjudged()?;
            quantize::correct(&graph, &scales, &inputs)
        } else {
            graph.clone()
        };
        let layers = (quantised.layers.iter())
            .map(|l| quantize::layer(&quantised, l, &scales))
            .collect::<Result<Vec<_>, _>>()?;
        let layout = layout(&graph, &scales, self.options.ram)?;
        let no_background = self.options.no_background;
        let bytes = write(
            self.encoder,
            &graph,
            &scales,
            &layers,
            &layout,
            no_background,
        )?;
        // The device's own check has the last word.
        let aligned = Aligned::new(&bytes);
        headstart::EncoderPack::new(aligned.bytes())
            .context("the packer wrote a pack that does not check")?;
        Ok(Packed {
            bytes,
            layout,
            graph,
            tried: Vec::new(),
            used: steps.iter().map(Step::to_string).collect(),
        })
    }

    /// Inputs to correct biases with: not those that judge, where there are enough.
    fn unjudged(&self) -> anyhow::Result<Vec<Vec<f32>>> {
        let step = self.windows.len().div_ceil(JUDGES).max(1);
        let windows = self.windows.iter().skip(step / 2).step_by(step);
        let one = |w| Ok(inputs(self.encoder, w)?.pop().unwrap_or_default());
        windows.map(one).collect()
    }

    /// The values of every tensor in whole pixels, thinned out evenly, every channel's extremes
    /// among them.
    fn pixels(&self, graph: &Graph) -> anyhow::Result<Vec<Seen>> {
        let mut seen = vec![Seen::new(); graph.tensors.len()];
        let mut extremes: Vec<[Vec<f32>; 2]> = (graph.tensors.iter())
            .map(|t| [f32::INFINITY, f32::NEG_INFINITY].map(|v| vec![v; t.shape[2]]))
            .collect();
        let several = self.encoder.frontend.windows();
        for signal in self.windows {
            for input in inputs(self.encoder, signal)? {
                for (t, values) in graph.run(input).iter().enumerate() {
                    let channels = graph.tensors[t].shape[2];
                    let every = (values.len() * several * self.windows.len()).div_ceil(KEPT);
                    for pixel in values.chunks_exact(channels) {
                        for (c, &value) in pixel.iter().enumerate() {
                            extremes[t][0][c] = extremes[t][0][c].min(value);
                            extremes[t][1][c] = extremes[t][1][c].max(value);
                        }
                    }
                    let kept = values.chunks_exact(channels).step_by(every.max(1));
                    seen[t].extend(kept.flatten());
                }
            }
        }
        for (seen, extremes) in seen.iter_mut().zip(&extremes) {
            seen.extend(extremes.iter().flatten());
        }
        Ok(seen)
    }
}
