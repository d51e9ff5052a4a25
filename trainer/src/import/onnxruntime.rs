//! Somebody else's model in ONNX Runtime, whatever numbers it takes and gives.

use anyhow::Context;
use headstart::onnx::{Library, guarded};
use ort::session::Session;
use ort::value::Tensor;

use super::input::Kind;

/// Opens a model to run on one thread.
pub fn open(library: &Library, model: &[u8]) -> anyhow::Result<Session> {
    Ok(library.session(model, 1)?)
}

/// The first output for one input, as floats.
pub fn run(
    session: &mut Session,
    shape: &[usize],
    values: &[f32],
    kind: Kind,
) -> anyhow::Result<Vec<f32>> {
    guarded(|| {
        let shape = shape.to_vec();
        let outputs = match kind {
            Kind::Float => {
                session.run(ort::inputs![Tensor::from_array((shape, values.to_vec()))?])?
            }
            Kind::Quantised { signed: true, .. } => {
                let bytes: Vec<i8> = values.iter().map(|&v| v as i8).collect();
                session.run(ort::inputs![Tensor::from_array((shape, bytes))?])?
            }
            _ => {
                let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
                session.run(ort::inputs![Tensor::from_array((shape, bytes))?])?
            }
        };
        let first = outputs.values().next().context("it has no output")?;
        if let Ok((_, values)) = first.try_extract_tensor::<f32>() {
            return Ok(values.to_vec());
        }
        if let Ok((_, values)) = first.try_extract_tensor::<i8>() {
            return Ok(values.iter().map(|&v| v.into()).collect());
        }
        let (_, values) = first.try_extract_tensor::<u8>()?;
        Ok(values.iter().map(|&v| v.into()).collect())
    })
}
