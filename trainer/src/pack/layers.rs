//! What quantisation costs, layer by layer.

use super::activations::compare;
use super::records;
use super::search::Packed;
use crate::encoder_file::EncoderFile;
use crate::items::Owned;

/// One layer's output in integers beside floats.
#[derive(Clone, Debug)]
pub struct LayerQuality {
    /// From 1, in running order.
    number: usize,
    name: String,
    kind: &'static str,
    /// Signal over noise, dB, against the float graph: what all layers so far cost. Nothing where
    /// there is no noise.
    sqnr_db: Option<f64>,
    /// Against the same layer in floats on the same integer inputs: what this layer adds, a bias
    /// that makes up for the layers before it among it.
    own_sqnr_db: Option<f64>,
}

/// Every layer of a pack, in running order.
pub(super) fn measure(
    encoder: &EncoderFile,
    packed: &Packed,
    windows: &[Owned],
) -> anyhow::Result<Vec<LayerQuality>> {
    let graph = &packed.graph;
    let rows = compare(encoder, packed, windows, |float, integers| {
        let layers = graph.layers.iter().map(|layer| {
            let own = graph.compute(layer, &integers);
            let packed = &integers[layer.output];
            [
                Power::of(&float[layer.output], packed),
                Power::of(&own, packed),
            ]
        });
        layers.collect::<Vec<_>>()
    })?;
    let mut layers = Vec::with_capacity(graph.layers.len());
    for (i, layer) in graph.layers.iter().enumerate() {
        let db = |which: usize| {
            let sum =
                |part: fn(&Power) -> f64| rows.iter().map(|r| part(&r[i][which])).sum::<f64>();
            let (signal, noise) = (sum(|p| p.signal), sum(|p| p.noise));
            (noise > 0.0).then(|| 10.0 * (signal.max(1e-30) / noise).log10())
        };
        layers.push(LayerQuality {
            number: i + 1,
            name: layer.name.clone(),
            kind: records::shape(layer)?.kind().map_or("?", |k| k.name()),
            sqnr_db: db(0),
            own_sqnr_db: db(1),
        });
    }
    Ok(layers)
}

/// Sums of squares over a tensor.
struct Power {
    signal: f64,
    noise: f64,
}

impl Power {
    fn of(float: &[f32], packed: &[f32]) -> Power {
        let squares = |v: f32| f64::from(v).powi(2);
        Power {
            signal: float.iter().map(|&v| squares(v)).sum(),
            noise: float.iter().zip(packed).map(|(f, p)| squares(p - f)).sum(),
        }
    }
}

/// Those that add most first.
pub(super) fn worst(layers: &[LayerQuality]) -> Vec<&LayerQuality> {
    let mut noisy: Vec<&LayerQuality> = layers.iter().filter(|l| l.own_sqnr_db.is_some()).collect();
    let own = |layer: &LayerQuality| layer.own_sqnr_db.unwrap_or(f64::INFINITY);
    noisy.sort_by(|a, b| own(a).total_cmp(&own(b)));
    noisy
}

impl LayerQuality {
    pub(super) fn text(&self) -> String {
        let db = |value: Option<f64>| value.map_or("exact".into(), |v| format!("{v:.1} dB"));
        format!(
            "{} ({}, {}): {} by itself, {} behind all before it",
            self.number,
            self.kind,
            self.name,
            db(self.own_sqnr_db),
            db(self.sqnr_db)
        )
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "layer": self.number,
            "name": self.name,
            "kind": self.kind,
            "sqnr_db": self.sqnr_db,
            "own_sqnr_db": self.own_sqnr_db,
        })
    }
}
