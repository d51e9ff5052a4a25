//! An encoder of the same shape that was never trained: what pretraining has to be worth more
//! than.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tract_onnx::pb::{ModelProto, TensorProto};

/// The graph with every weight of a convolution or dense layer drawn anew from a normal
/// distribution of variance 2 / fan-in, and every bias 0 (*Delving Deep into Rectifiers: Surpassing
/// Human-Level Performance on ImageNet Classification*, He et al., 2015).
///
/// # Errors
/// Where a layer's weights are not stored in the graph.
pub fn reinitialise(proto: &ModelProto, seed: u64) -> anyhow::Result<ModelProto> {
    let mut proto = proto.clone();
    let graph = proto.graph.as_mut().context("the file has no graph")?;
    let mut fan_in: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    for node in &graph.node {
        let transposed = node
            .attribute
            .iter()
            .any(|a| a.name == "transB" && a.i != 0);
        let weights = node.input.get(1).map_or("", |name| name.as_str());
        let dims = graph.initializer.iter().find(|t| t.name == weights);
        let dims = || dims.map_or(&[][..], |t| &t.dims);
        let fan = match node.op_type.as_str() {
            "Conv" => dims().iter().skip(1).product(),
            "Gemm" => dims().get(usize::from(transposed)).copied().unwrap_or(0),
            _ => continue,
        };
        ensure!(
            fan > 0,
            "the weights of node `{}` are not stored",
            node.name
        );
        fan_in.insert(weights, Some(fan as usize));
        if let Some(bias) = node.input.get(2) {
            fan_in.insert(bias, None);
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for tensor in &mut graph.initializer {
        match fan_in.get(tensor.name.as_str()) {
            Some(&Some(fan)) => {
                let deviation = (2.0 / fan as f64).sqrt();
                fill(tensor, || deviation * normal(&mut rng))?;
            }
            Some(None) => fill(tensor, || 0.0)?,
            None => {}
        }
    }
    Ok(proto)
}

fn fill(tensor: &mut TensorProto, mut value: impl FnMut() -> f64) -> anyhow::Result<()> {
    let length = tensor
        .dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let stored = tensor.raw_data.len() / 4 + tensor.float_data.len();
    ensure!(
        length == Some(stored),
        "the weights `{}` are not plain f32",
        tensor.name
    );
    tensor.float_data.clear();
    tensor.raw_data = (0..stored)
        .flat_map(|_| (value() as f32).to_le_bytes())
        .collect();
    Ok(())
}

/// A draw from the standard normal distribution (*A Note on the Generation of Random Normal
/// Deviates*, G. E. P. Box and Mervin E. Muller, 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || (rng.next_u32() as f64 + 0.5) / 4_294_967_296.0;
    let (radius, angle) = (
        (-2.0 * uniform().ln()).sqrt(),
        std::f64::consts::TAU * uniform(),
    );
    radius * angle.cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_standard_normal() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<f64> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|v| v * v).sum::<f64>() / 20_000.0;
        let beyond_two = draws.iter().filter(|v| v.abs() > 1.96).count();
        // Four standard errors each.
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
        assert!((877..1123).contains(&beyond_two), "{beyond_two}");
    }
}
