//! Whether the encoder still computes what the file did: both run on the same inputs, through
//! tract and, where its library is there, through ONNX Runtime.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::Framework;

use super::cut::{Layout, Pool};
use super::facts;
use super::input::{Input, Kind};
use crate::bench::onnxruntime::Library;
use crate::guard::guarded;

/// The largest difference between floats, relative to the largest value where that is above 1.
pub const TOLERANCE: f32 = 1e-4;
/// The same where the file computes in 16 bits.
pub const HALF_TOLERANCE: f32 = 1e-2;

/// Inputs without meaning, in the range that the front end makes where that is known.
pub fn random(values: usize, count: usize, range: Option<[f32; 2]>) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let [low, high] = range.unwrap_or([-1.0, 1.0]);
    let mut value = || low + (high - low) * rng.random::<f32>();
    (0..count)
        .map(|_| (0..values).map(|_| value()).collect())
        .collect()
}

/// The tensor of the file that the embedding is compared with.
pub struct Original<'m> {
    /// As it was read.
    pub model: &'m ModelProto,
    /// What it takes.
    pub input: &'m Input,
    /// Its tensor.
    pub tensor: &'m str,
    /// Where that holds integers: scale and zero point.
    pub dequantise: Option<[f32; 2]>,
    /// Its sizes behind the batch.
    pub shape: &'m [usize],
    /// What the encoder does to it besides.
    pub pool: Option<(Pool, Layout)>,
}

/// The largest differences, by runtime.
pub type Differences = BTreeMap<&'static str, f32>;

/// Embeddings of `inputs` by the original in some runtime, and the difference that each runtime of
/// the encoder has to them.
///
/// # Errors
/// Where nothing can run the original or the encoder.
pub fn differences(
    original: &Original,
    encoder: &ModelProto,
    batch: Option<usize>,
    inputs: &[Vec<f32>],
    library: &Library,
) -> anyhow::Result<Verified> {
    let integers: Vec<Vec<f32>> = inputs.iter().map(|i| original.input.integers(i)).collect();
    let before = original.with_output();
    let by_tract = runs_one_by_one(&before, original.input, &integers);
    let by_ort = match library.name() {
        Some(_) => Some(original.by_onnxruntime(&before, &integers, library)),
        None => None,
    };
    drop(before);
    let reference = match (by_ort, by_tract) {
        (Some(Ok(rows)), _) => rows,
        (_, Ok(rows)) => rows,
        (_, Err(why)) => return Err(why.context("the file itself does not run")),
    };
    let reference: Vec<Vec<f32>> = reference.into_iter().map(|r| original.pooled(r)).collect();
    let mut found = Verified::default();
    let sizes = &original.input.sizes;
    let tract = guarded(|| batches(encoder, sizes, batch, inputs));
    match tract {
        Ok(rows) => {
            found.differences.insert("tract", worst(&reference, &rows)?);
        }
        Err(why) => found.refusals.push(format!("tract can't run it: {why:#}")),
    }
    if library.name().is_some() {
        let bytes = encoder.encode_to_vec();
        match onnxruntime(&bytes, sizes, batch, inputs, library) {
            Ok(rows) => {
                found
                    .differences
                    .insert("ONNX Runtime", worst(&reference, &rows)?);
            }
            Err(why) => found
                .refusals
                .push(format!("ONNX Runtime can't run it: {why:#}")),
        }
    }
    ensure!(
        !found.differences.is_empty(),
        "no runtime here runs it: {}",
        found.refusals.join("; ")
    );
    found.largest = reference.iter().flatten().fold(0.0, |m, v| m.max(v.abs()));
    Ok(found)
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// The largest difference of each runtime, relative to the largest value where that is above 1.
    pub differences: Differences,
    /// Runtimes that can't run the encoder, and why.
    pub refusals: Vec<String>,
    /// The largest value of an embedding.
    pub largest: f32,
}

fn worst(reference: &[Vec<f32>], rows: &[Vec<f32>]) -> anyhow::Result<f32> {
    let lengths = |rows: &[Vec<f32>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
    ensure!(
        lengths(reference) == lengths(rows),
        "it gives {:?} values where the file gives {:?}",
        lengths(rows).first(),
        lengths(reference).first()
    );
    let scale = reference
        .iter()
        .flatten()
        .fold(1.0f32, |m, v| m.max(v.abs()));
    let differences = reference.iter().flatten().zip(rows.iter().flatten());
    Ok(differences.fold(0.0, |worst, (a, b)| {
        let difference = (a - b).abs() / scale;
        match difference.is_nan() {
            true => f32::INFINITY,
            false => worst.max(difference),
        }
    }))
}

impl Original<'_> {
    /// The file with that tensor as its only output.
    fn with_output(&self) -> ModelProto {
        let mut model = self.model.clone();
        if let Some(graph) = model.graph.as_mut() {
            graph.output = vec![ValueInfoProto {
                name: self.tensor.into(),
                ..Default::default()
            }];
            graph.value_info.clear();
            super::tidy::prune(graph);
        }
        model
    }

    fn by_onnxruntime(
        &self,
        before: &ModelProto,
        inputs: &[Vec<f32>],
        library: &Library,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut session = library.open(&before.encode_to_vec())?;
        let shape = self.input.shape(self.input.batch.unwrap_or(1));
        let row = |input: &Vec<f32>| library.run(&mut session, &shape, input, self.input.kind);
        inputs.iter().map(row).collect()
    }

    /// The embedding from the tensor's values.
    fn pooled(&self, mut values: Vec<f32>) -> Vec<f32> {
        if let Some([scale, zero_point]) = self.dequantise {
            values
                .iter_mut()
                .for_each(|v| *v = (*v - zero_point) * scale);
        }
        let Some((pool, layout)) = self.pool else {
            return values;
        };
        let channels = match layout {
            Layout::First => self.shape.first(),
            Layout::Last => self.shape.last(),
        };
        let channels = channels.copied().unwrap_or(1);
        let places = values.len() / channels.max(1);
        let value = |place: usize, channel: usize| match layout {
            Layout::First => values[channel * places + place],
            Layout::Last => values[place * channels + channel],
        };
        let of = |c: usize| match pool {
            Pool::Mean => (0..places).map(|p| value(p, c)).sum::<f32>() / places as f32,
            Pool::Cls => value(0, c),
        };
        (0..channels).map(of).collect()
    }
}

impl Input {
    /// What integers at the input can stand for; floats know no range.
    pub fn range(&self) -> Option<[f32; 2]> {
        match self.kind {
            Kind::Float => None,
            Kind::Bytes => Some([0.0, 255.0]),
            Kind::Quantised {
                scale,
                zero_point,
                signed,
            } => {
                let ends = if signed {
                    [-128.0, 127.0]
                } else {
                    [0.0, 255.0]
                };
                Some(ends.map(|e| (e - zero_point) * scale))
            }
        }
    }

    /// What the file takes for these floats.
    fn integers(&self, values: &[f32]) -> Vec<f32> {
        match self.kind {
            Kind::Float => values.to_vec(),
            Kind::Bytes => values.iter().map(|v| v.trunc().clamp(0.0, 255.0)).collect(),
            Kind::Quantised {
                scale,
                zero_point,
                signed,
            } => {
                let [low, high] = if signed {
                    [-128.0, 127.0]
                } else {
                    [0.0, 255.0]
                };
                let integer =
                    |v: &f32| ((v / scale).round_ties_even() + zero_point).clamp(low, high);
                values.iter().map(integer).collect()
            }
        }
    }
}

fn tensor(shape: &[usize], values: &[f32], kind: Kind) -> TractResult<Tensor> {
    let tensor = Tensor::from_shape(shape, values)?;
    Ok(match kind {
        Kind::Float => tensor,
        Kind::Quantised { signed: true, .. } => tensor.cast_to::<i8>()?.into_owned(),
        _ => tensor.cast_to::<u8>()?.into_owned(),
    })
}

fn prepare(
    model: &ModelProto,
    input: Option<(Kind, &[usize])>,
) -> anyhow::Result<Arc<TypedRunnableModel>> {
    let mut graph = facts::framework().model_for_proto_model(model)?;
    if let Some((kind, shape)) = input {
        let stored = match kind {
            Kind::Float => graph
                .input_fact(0)?
                .datum_type
                .concretize()
                .unwrap_or(f32::datum_type()),
            Kind::Quantised { signed: true, .. } => i8::datum_type(),
            _ => u8::datum_type(),
        };
        graph = graph.with_input_fact(0, stored.fact(shape).into())?;
    }
    Ok(graph.into_optimized()?.into_runnable()?)
}

fn floats(value: &TValue) -> anyhow::Result<Vec<f32>> {
    let cast = value.cast_to::<f32>()?;
    Ok(cast.to_plain_array_view::<f32>()?.iter().copied().collect())
}

/// Each input by itself, in the batch that the file fixes (filled up with copies).
fn runs_one_by_one(
    model: &ModelProto,
    input: &Input,
    inputs: &[Vec<f32>],
) -> anyhow::Result<Vec<Vec<f32>>> {
    guarded(|| {
        let batch = input.batch.unwrap_or(1);
        let shape = input.shape(batch);
        let plan = prepare(model, Some((input.kind, &shape)))?;
        let wanted = plan.model().input_fact(0)?.datum_type;
        let row = |values: &Vec<f32>| {
            let filled = values.repeat(batch);
            let tensor = tensor(&shape, &filled, input.kind)?
                .cast_to_dt(wanted)?
                .into_owned();
            let output = plan.run(tvec!(tensor.into()))?;
            let values = floats(output.first().context("it has no output")?)?;
            Ok(values[..values.len() / batch].to_vec())
        };
        inputs.iter().map(row).collect()
    })
}

/// All inputs, at a batch of one and of three where the batch is free.
fn batches(
    encoder: &ModelProto,
    sizes: &[usize],
    fixed: Option<usize>,
    inputs: &[Vec<f32>],
) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut rows = Vec::new();
    for (batch, part) in parts(fixed, inputs) {
        let shape = [&[batch], sizes].concat();
        let plan = prepare(encoder, Some((Kind::Float, &shape)))?;
        for chunk in part.chunks(batch) {
            let filled = filled(chunk, batch);
            let tensor = Tensor::from_shape(&shape, &filled)?;
            let output = plan.run(tvec!(tensor.into()))?;
            let values = floats(output.first().context("it has no output")?)?;
            rows.extend(
                values
                    .chunks(values.len() / batch)
                    .take(chunk.len())
                    .map(<[f32]>::to_vec),
            );
        }
    }
    Ok(rows)
}

fn onnxruntime(
    bytes: &[u8],
    sizes: &[usize],
    fixed: Option<usize>,
    inputs: &[Vec<f32>],
    library: &Library,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut session = library.open(bytes)?;
    let mut rows = Vec::new();
    for (batch, part) in parts(fixed, inputs) {
        let shape = [&[batch], sizes].concat();
        for chunk in part.chunks(batch) {
            let values = library.run(&mut session, &shape, &filled(chunk, batch), Kind::Float)?;
            rows.extend(
                values
                    .chunks(values.len() / batch)
                    .take(chunk.len())
                    .map(<[f32]>::to_vec),
            );
        }
    }
    Ok(rows)
}

/// Which inputs run at which batch.
fn parts(fixed: Option<usize>, inputs: &[Vec<f32>]) -> Vec<(usize, &[Vec<f32>])> {
    let half = inputs.len().div_ceil(2);
    match fixed {
        Some(batch) => vec![(batch, inputs)],
        None => vec![(1, &inputs[..half]), (3, &inputs[half..])],
    }
}

fn filled(chunk: &[Vec<f32>], batch: usize) -> Vec<f32> {
    let cycle = chunk.iter().cycle().take(batch);
    cycle.flatten().copied().collect()
}
