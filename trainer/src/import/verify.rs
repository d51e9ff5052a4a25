//! Whether the encoder still computes what the file did: both run on the same inputs, through
//! tract and, where its library is there, through ONNX Runtime.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::Framework;

use super::cut::{Layout, Pool};
use super::facts;
use super::input::{Input, Kind};
use headstart::onnx::{Library, guarded};

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

/// The file up to the tensor that the embedding is compared with.
pub struct Original {
    /// With that tensor as its only output.
    pub model: ModelProto,
    /// What it takes.
    pub input: Input,
    /// Where the tensor holds integers: scale and zero point.
    pub dequantise: Option<[f32; 2]>,
    /// Its sizes behind the batch.
    pub shape: Vec<usize>,
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
    original: Original,
    encoder: &ModelProto,
    batch: Option<usize>,
    inputs: &[Vec<f32>],
    library: Option<&Library>,
) -> anyhow::Result<Verified> {
    let sizes = original.input.sizes.clone();
    let reference = original.reference(inputs, library)?;
    let mut found = Verified::default();
    let tract = guarded(|| batches(encoder, &sizes, batch, inputs));
    match tract {
        Ok(rows) => {
            found.differences.insert("tract", worst(&reference, &rows)?);
        }
        Err(why) => found.refusals.push(format!("tract can't run it: {why:#}")),
    }
    if let Some(library) = library {
        let bytes = encoder.encode_to_vec();
        match guarded(|| onnxruntime(&bytes, &sizes, batch, inputs, library)) {
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
        "{} inputs give {} values where the file gives {}",
        reference.len(),
        lengths(rows).iter().sum::<usize>(),
        lengths(reference).iter().sum::<usize>()
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

impl Original {
    /// The embeddings by whichever runtime runs the file. Its weights go as soon as they can: the
    /// encoder's are in memory too.
    fn reference(
        mut self,
        inputs: &[Vec<f32>],
        library: Option<&Library>,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let integers: Vec<Vec<f32>> = inputs.iter().map(|i| self.input.integers(i)).collect();
        let by_ort = match library {
            Some(library) => self.by_onnxruntime(&integers, library).ok(),
            None => None,
        };
        let model = std::mem::take(&mut self.model);
        let foreign = model
            .graph
            .iter()
            .flat_map(|g| &g.node)
            .find(|n| !facts::known(&n.op_type));
        let foreign = foreign.map(|n| n.op_type.clone());
        let rows = match (by_ort, foreign) {
            (Some(rows), _) => rows,
            (None, Some(operator)) if library.is_none() => bail!(
                "it can't be held against the file, as tract does not know its {operator}: let ORT_DYLIB_PATH name ONNX Runtime's library (pip install onnxruntime)"
            ),
            (None, _) => {
                one_by_one(model, &self.input, &integers).context("the file itself does not run")?
            }
        };
        rows.into_iter().map(|r| self.pooled(r)).collect()
    }

    fn by_onnxruntime(
        &self,
        inputs: &[Vec<f32>],
        library: &Library,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut session = super::onnxruntime::open(library, &self.model.encode_to_vec())?;
        let batch = self.input.batch.unwrap_or(1);
        let shape = self.input.shape(batch);
        let row = |input: &Vec<f32>| {
            let values = super::onnxruntime::run(
                &mut session,
                &shape,
                &input.repeat(batch),
                self.input.kind,
            )?;
            Ok(values[..values.len() / batch].to_vec())
        };
        inputs.iter().map(row).collect()
    }

    /// The embedding from the tensor's values.
    fn pooled(&self, mut values: Vec<f32>) -> anyhow::Result<Vec<f32>> {
        let sizes: usize = self.shape.iter().product();
        ensure!(
            values.len() == sizes && sizes > 0,
            "the file gives {} values where its shapes say {sizes}",
            values.len()
        );
        if let Some([scale, zero_point]) = self.dequantise {
            values
                .iter_mut()
                .for_each(|v| *v = (*v - zero_point) * scale);
        }
        let Some((pool, layout)) = self.pool else {
            return Ok(values);
        };
        let channels = layout.channels(&self.shape);
        let places = values.len() / channels.max(1);
        let value = |place: usize, channel: usize| match layout {
            Layout::First => values[channel * places + place],
            Layout::Last => values[place * channels + channel],
        };
        let of = |c: usize| match pool {
            Pool::Mean => (0..places).map(|p| value(p, c)).sum::<f32>() / places as f32,
            Pool::Cls => value(0, c),
        };
        Ok((0..channels).map(of).collect())
    }
}

impl Input {
    /// Between which numbers inputs are that reach all that the file tells apart; floats know none.
    pub fn range(&self) -> Option<[f32; 2]> {
        match self.kind {
            Kind::Float => None,
            Kind::Bytes => Some([0.0, 255.0]),
            Kind::Quantised {
                scale,
                zero_point,
                signed,
            } => Some(integers(signed).map(|edge| (edge - zero_point) * scale)),
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
                let [low, high] = integers(signed);
                let integer =
                    |v: &f32| ((v / scale).round_ties_even() + zero_point).clamp(low, high);
                values.iter().map(integer).collect()
            }
        }
    }
}

fn integers(signed: bool) -> [f32; 2] {
    match signed {
        true => [-128.0, 127.0],
        false => [0.0, 255.0],
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
    graph.into_optimized()?.into_runnable()
}

fn floats(value: &TValue) -> anyhow::Result<Vec<f32>> {
    let cast = value.cast_to::<f32>()?;
    Ok(cast.to_plain_array_view::<f32>()?.iter().copied().collect())
}

/// Each input by itself, in the batch that the file fixes (filled up with copies).
fn one_by_one(
    model: ModelProto,
    input: &Input,
    inputs: &[Vec<f32>],
) -> anyhow::Result<Vec<Vec<f32>>> {
    guarded(|| {
        let batch = input.batch.unwrap_or(1);
        let shape = input.shape(batch);
        let plan = prepare(&model, Some((input.kind, &shape)))?;
        drop(model);
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
            let output = output.first().context("it has no output")?;
            // Rows that run into one have the right values in the right order.
            ensure!(
                output.shape().first() == Some(&batch),
                "a batch of {batch} gives {:?}: the batch is not free",
                output.shape()
            );
            let values = floats(output)?;
            rows.extend(
                values
                    .chunks((values.len() / batch).max(1))
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
    let mut session = super::onnxruntime::open(library, bytes)?;
    let mut rows = Vec::new();
    for (batch, part) in parts(fixed, inputs) {
        let shape = [&[batch], sizes].concat();
        for chunk in part.chunks(batch) {
            let values =
                super::onnxruntime::run(&mut session, &shape, &filled(chunk, batch), Kind::Float)?;
            rows.extend(
                values
                    .chunks((values.len() / batch).max(1))
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
