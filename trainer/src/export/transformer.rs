//! A transformer as an ONNX file of plain operators: from ids, int64 [N, T], to embeddings, [N, D].
//!
//! Padding is recognised in the graph, so ids are all that it takes.

use burn::nn::{LayerNorm, Linear};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, TensorProto, attribute_proto::AttributeType, type_proto};

use super::onnx::{GraphBuilder, Weights, int, ints};
use super::weights;
use crate::network::Transformer;
use crate::network::transformer::{Attention, Block, EPSILON, FAR_BELOW, Shape};
use crate::tokens::PAD;

/// The graph, and the integers that its nodes take.
#[derive(Default)]
struct Graph {
    builder: GraphBuilder,
    integers: Vec<TensorProto>,
}

/// A network as the bytes of an ONNX model, with `metadata` as given. The same network and
/// metadata give the same bytes.
pub fn encode(encoder: &Transformer, shape: Shape, metadata: &[(String, String)]) -> Vec<u8> {
    let mut graph = Graph::default();
    let g = &mut graph;
    let pad = g.integers("pad", &[PAD.into()]);
    let padding = g.plain("padding", "Equal", &["input", &pad]);
    let present = g.plain("present", "Not", &[&padding]);
    let padding = g.float("padding.float", &padding);
    let padding = g.times("padding.score", &padding, FAR_BELOW);
    let padding = g.axes("padding.scores", "Unsqueeze", &padding, &[1, 2]);

    let table = g.weights("tokens", "weight", weights(encoder.tokens.weight.val()));
    let tokens = g.plain("tokens", "Gather", &[&table, "input"]);
    let positions = g.weights("positions", "weight", weights(encoder.positions.val()));
    let mut states = g.plain("positions", "Add", &[&tokens, &positions]);
    for (i, block) in encoder.blocks.iter().enumerate() {
        states = g.block(&format!("block{}", i + 1), &states, &padding, block);
    }
    let states = g.norm("norm", &states, &encoder.norm);

    let present = g.float("present.float", &present);
    let present = g.axes("present.states", "Unsqueeze", &present, &[2]);
    let states = g.plain("pool.present", "Mul", &[&states, &present]);
    let sum = g.sum("pool.sum", &states);
    let count = g.sum("pool.count", &present);
    let one = g.scalar("pool.least", 1.0);
    let count = g.plain("pool.least", "Max", &[&count, &one]);
    let mean = g.plain("pool.mean", "Div", &[&sum, &count]);
    if let Some(map) = &encoder.map {
        let map = g.weights("map", "weight", weights(map.val()));
        g.plain("map", "MatMul", &[&mean, &map]);
    }
    graph.finish(shape, metadata)
}

impl Graph {
    fn block(&mut self, name: &str, states: &str, padding: &str, block: &Block) -> String {
        let part = |part: &str| format!("{name}.{part}");
        let x = self.norm(&part("attention.norm"), states, &block.attention_norm);
        let x = self.attention(&part("attention"), &x, padding, &block.attention);
        let states = self.plain(&part("attention.sum"), "Add", &[states, &x]);
        let x = self.norm(&part("dense.norm"), &states, &block.dense_norm);
        let x = self.dense(&part("dense.widen"), &x, &block.widen);
        let x = self.gelu(&part("dense.gelu"), &x);
        let x = self.dense(&part("dense.narrow"), &x, &block.narrow);
        self.plain(&part("dense.sum"), "Add", &[&states, &x])
    }

    fn attention(&mut self, name: &str, x: &str, padding: &str, attention: &Attention) -> String {
        let part = |part: &str| format!("{name}.{part}");
        let [dim, _] = attention.query.weight.dims();
        let width = dim / attention.heads;
        // The scale of the scores is folded into the queries.
        let scale = 1.0 / (width as f32).sqrt();
        let scaled = Linear {
            weight: attention.query.weight.clone().map(|w| w.mul_scalar(scale)),
            bias: attention
                .query
                .bias
                .clone()
                .map(|b| b.map(|b| b.mul_scalar(scale))),
        };
        // Keys come transposed, [N, heads, width, T].
        let [query, key, value] = [
            ("query", &scaled, [0, 2, 1, 3]),
            ("key", &attention.key, [0, 2, 3, 1]),
            ("value", &attention.value, [0, 2, 1, 3]),
        ]
        .map(|(kind, dense, order)| {
            let x = self.dense(&part(kind), x, dense);
            let sizes = [0, 0, attention.heads as i64, width as i64];
            let x = self.reshape(&part(&format!("{kind}.split")), &x, &sizes);
            self.transpose(&part(&format!("{kind}.heads")), &x, &order)
        });
        let scores = self.plain(&part("scores"), "MatMul", &[&query, &key]);
        let scores = self.plain(&part("masked"), "Add", &[&scores, padding]);
        let shares = self.softmax(&part("shares"), &scores);
        let told = self.plain(&part("told"), "MatMul", &[&shares, &value]);
        let told = self.transpose(&part("told.heads"), &told, &[0, 2, 1, 3]);
        let told = self.reshape(&part("told.joined"), &told, &[0, 0, dim as i64]);
        self.dense(&part("output"), &told, &attention.output)
    }

    /// x times weight plus bias; the weight is [in, out].
    fn dense(&mut self, name: &str, x: &str, dense: &Linear) -> String {
        let weight = self.weights(name, "weight", weights(dense.weight.val()));
        let Some(bias) = &dense.bias else {
            return self.plain(name, "MatMul", &[x, &weight]);
        };
        let product = self.plain(&format!("{name}.product"), "MatMul", &[x, &weight]);
        let bias = self.weights(name, "bias", weights(bias.val()));
        self.plain(name, "Add", &[&product, &bias])
    }

    /// x / 2 (1 + erf(x / sqrt 2)): opset 17 has no GELU of its own.
    fn gelu(&mut self, name: &str, x: &str) -> String {
        let part = |part: &str| format!("{name}.{part}");
        let scaled = self.times(&part("scaled"), x, std::f32::consts::FRAC_1_SQRT_2);
        let erf = self.plain(&part("erf"), "Erf", &[&scaled]);
        let one = self.scalar(&part("one"), 1.0);
        let gate = self.plain(&part("gate"), "Add", &[&erf, &one]);
        let half = self.times(&part("half"), x, 0.5);
        self.plain(name, "Mul", &[&half, &gate])
    }

    fn norm(&mut self, name: &str, x: &str, norm: &LayerNorm) -> String {
        let mut inputs = vec![
            x.to_string(),
            self.weights(name, "weight", weights(norm.gamma.val())),
        ];
        if let Some(beta) = &norm.beta {
            inputs.push(self.weights(name, "bias", weights(beta.val())));
        }
        let attributes = vec![axis(-1), float("epsilon", EPSILON as f32)];
        self.builder
            .node(name, "LayerNormalization", inputs, attributes)
    }

    fn softmax(&mut self, name: &str, x: &str) -> String {
        self.builder
            .node(name, "Softmax", vec![x.into()], vec![axis(-1)])
    }

    fn transpose(&mut self, name: &str, x: &str, order: &[usize]) -> String {
        let attributes = vec![ints("perm", order)];
        self.builder
            .node(name, "Transpose", vec![x.into()], attributes)
    }

    /// 0 in `sizes` keeps the size that is there.
    fn reshape(&mut self, name: &str, x: &str, sizes: &[i64]) -> String {
        let sizes = self.integers(&format!("{name}.sizes"), sizes);
        self.plain(name, "Reshape", &[x, &sizes])
    }

    /// Over the tokens, which are gone then.
    fn sum(&mut self, name: &str, x: &str) -> String {
        let axes = self.integers(&format!("{name}.axes"), &[1]);
        let inputs = vec![x.to_string(), axes];
        self.builder
            .node(name, "ReduceSum", inputs, vec![int("keepdims", 0)])
    }

    fn axes(&mut self, name: &str, kind: &str, x: &str, axes: &[i64]) -> String {
        let axes = self.integers(&format!("{name}.axes"), axes);
        self.plain(name, kind, &[x, &axes])
    }

    fn float(&mut self, name: &str, x: &str) -> String {
        let to = int("to", DataType::Float as i64);
        self.builder.node(name, "Cast", vec![x.into()], vec![to])
    }

    fn times(&mut self, name: &str, x: &str, factor: f32) -> String {
        let factor = self.scalar(name, factor);
        self.plain(name, "Mul", &[x, &factor])
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        let values = vec![value];
        let shape = Vec::new();
        self.weights(name, "value", Weights { shape, values })
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        self.integers.push(TensorProto {
            name: name.into(),
            dims: vec![values.len() as i64],
            data_type: DataType::Int64 as i32,
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
        name.to_string()
    }

    fn weights(&mut self, node: &str, part: &str, weights: Weights) -> String {
        self.builder.weights(node, part, weights)
    }

    fn plain(&mut self, name: &str, kind: &str, inputs: &[&str]) -> String {
        self.builder.plain(name, kind, inputs)
    }

    /// The builder's model, with ids [N, T] in place of a window.
    fn finish(self, shape: Shape, metadata: &[(String, String)]) -> Vec<u8> {
        let input = ("input", [1, shape.length]);
        let output = ("embedding", shape.dim);
        let (name, sizes) = input;
        let mut model = self.builder.finish((name, &sizes), output, metadata);
        if let Some(graph) = &mut model.graph {
            graph.initializer.extend(self.integers);
            let types = graph.input.iter_mut().filter_map(|i| i.r#type.as_mut());
            for kind in types.filter_map(|t| t.value.as_mut()) {
                let type_proto::Value::TensorType(tensor) = kind;
                tensor.elem_type = DataType::Int64 as i32;
                if let Some(shape) = &mut tensor.shape {
                    shape.dim.remove(1);
                }
            }
        }
        model.encode_to_vec()
    }
}

fn axis(axis: i64) -> AttributeProto {
    int("axis", axis)
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float as i32,
        f: value,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BATCHES, TOLERANCE, embed, encode, verify};
    use crate::augment::stream;
    use crate::network::{Initialiser, Kind, Network, Pool, Shape};
    use crate::tokens::Tokenizer;
    use burn::tensor::Device;

    const LENGTH: usize = 24;
    const SHAPE: Shape = Shape {
        kind: Kind::Transformer,
        input: [1, 1, LENGTH],
        width: 0,
        depth: 2,
        dim: 32,
        pool: Pool::Mean,
        vocabulary: 261,
    };

    /// The bytes of a model, lines of different lengths, and the network's embeddings of them.
    fn exported(seed: u64, mapped: bool) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let device = Device::flex();
        let mut init = Initialiser::new(stream(seed, 1, 0, 0), &device);
        let mut network = Network::new(&mut init, SHAPE, &device);
        if mapped {
            let map: Vec<f32> = (0..32 * 32).map(|i| (i % 7) as f32 / 7.0 - 0.4).collect();
            network = network.then_linear(&map, &device);
        }
        let tokenizer = Tokenizer::bytes();
        let text = "the quick brown fox jumps over the lazy dog";
        let lines = (0..text.len()).map(|i| tokenizer.encode(&text[i..], LENGTH));
        let ids = lines.flat_map(|ids| ids.expect("it encodes"));
        let ids: Vec<f32> = ids.map(|id| id as f32).collect();
        let json = tokenizer.json().expect("it is text");
        let metadata = [("headstart.tokenizer".to_string(), json)];
        let model = encode(&network, SHAPE, &metadata);
        let expected = embed(&network, SHAPE, &ids, &device);
        (model, ids, expected)
    }

    #[test]
    fn the_model_is_the_network() {
        for mapped in [false, true] {
            let (model, ids, expected) = exported(1, mapped);
            let worst = verify(&model, SHAPE, &ids, &expected).expect("it runs");
            assert!(worst < 1e-5, "{worst:.1e}");
            let (other, _, _) = exported(2, mapped);
            assert!(verify(&other, SHAPE, &ids, &expected).is_err());
        }
    }

    #[test]
    fn onnx_runtime_agrees() {
        if std::env::var_os("ORT_DYLIB_PATH").is_none() {
            println!("skipped: ORT_DYLIB_PATH is not set");
            return;
        }
        let library = headstart::onnx::Library::find().expect("it is there");
        let (model, ids, expected) = exported(1, true);
        let mut session = library.session(&model, 1).expect("it opens");
        let scale = expected.iter().fold(1.0f32, |a, v| a.max(v.abs()));
        for batch in BATCHES {
            let input: Vec<i64> = ids[..batch * LENGTH].iter().map(|&i| i as i64).collect();
            let input = ort::value::Tensor::from_array((vec![batch, LENGTH], input));
            let input = input.expect("it is a tensor");
            let outputs = session
                .run(ort::inputs!["input" => input])
                .expect("it runs");
            let output = outputs["embedding"].try_extract_tensor::<f32>();
            let (_, output) = output.expect("it is a tensor");
            assert_eq!(output.len(), batch * SHAPE.dim);
            for (a, b) in output.iter().zip(&expected) {
                assert!((a - b).abs() / scale < TOLERANCE, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_same_network_is_the_same_bytes() {
        assert!(exported(5, false).0 == exported(5, false).0);
    }
}
