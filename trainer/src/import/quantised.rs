//! QLinearConv and its kin as what they stand for: the float operator between DequantizeLinear and
//! QuantizeLinear. One way to write quantised graphs is enough for all that comes behind.

use tract_onnx::pb::{GraphProto, NodeProto};

/// Where an operator has what; indices of its inputs.
struct Form {
    operator: &'static str,
    float: &'static str,
    /// (values, scale, zero point) of each operand.
    operands: &'static [[usize; 3]],
    /// Scale and zero point of the output.
    output: [usize; 2],
    /// The bias, in steps of the first two operands' scales together.
    bias: Option<usize>,
}

const FORMS: [Form; 9] = [
    Form {
        operator: "QLinearConv",
        float: "Conv",
        operands: &[[0, 1, 2], [3, 4, 5]],
        output: [6, 7],
        bias: Some(8),
    },
    Form {
        operator: "QLinearMatMul",
        float: "MatMul",
        operands: &[[0, 1, 2], [3, 4, 5]],
        output: [6, 7],
        bias: None,
    },
    Form {
        operator: "QGemm",
        float: "Gemm",
        operands: &[[0, 1, 2], [3, 4, 5]],
        output: [7, 8],
        bias: Some(6),
    },
    unary("QLinearSigmoid", "Sigmoid"),
    unary("QLinearLeakyRelu", "LeakyRelu"),
    unary("QLinearGlobalAveragePool", "GlobalAveragePool"),
    unary("QLinearAveragePool", "AveragePool"),
    binary("QLinearAdd", "Add"),
    binary("QLinearMul", "Mul"),
];

const fn unary(operator: &'static str, float: &'static str) -> Form {
    Form {
        operator,
        float,
        operands: &[[0, 1, 2]],
        output: [3, 4],
        bias: None,
    }
}

const fn binary(operator: &'static str, float: &'static str) -> Form {
    Form {
        operator,
        float,
        operands: &[[0, 1, 2], [3, 4, 5]],
        output: [6, 7],
        bias: None,
    }
}

/// Rewrites what it knows; returns how many nodes that were.
pub fn to_float(graph: &mut GraphProto) -> usize {
    let mut count = 0;
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut stored = Vec::new();
    for node in std::mem::take(&mut graph.node) {
        let form = FORMS.iter().find(|f| f.operator == node.op_type);
        match form.and_then(|f| rewritten(&node, f, graph)) {
            Some(parts) => {
                count += 1;
                nodes.extend(parts.0);
                stored.extend(parts.1);
            }
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
    graph.initializer.extend(stored);
    count
}

type Parts = (Vec<NodeProto>, Vec<tract_onnx::pb::TensorProto>);

fn rewritten(node: &NodeProto, form: &Form, graph: &GraphProto) -> Option<Parts> {
    let output = node.output.first()?;
    let input = |at: usize| node.input.get(at).filter(|n| !n.is_empty()).cloned();
    let (mut nodes, mut stored, mut operands) = (Vec::new(), Vec::new(), Vec::new());
    for (i, &[values, scale, zero]) in form.operands.iter().enumerate() {
        let name = format!("{output}.operand{i}");
        let per_channel = i == 1 && form.operator != "QLinearAdd" && form.operator != "QLinearMul";
        let inputs: Vec<String> = [Some(input(values)?), Some(input(scale)?), input(zero)]
            .into_iter()
            .flatten()
            .collect();
        // A convolution's weights have their channels first, a matrix's columns come last.
        let axis = match (per_channel, form.float) {
            (true, "Conv") => Some(0),
            (true, _) => Some(1),
            _ => None,
        };
        let attribute = axis
            .map(|a| super::cut::int("axis", a))
            .into_iter()
            .collect();
        nodes.push(NodeProto {
            op_type: "DequantizeLinear".into(),
            name: name.clone(),
            input: inputs,
            output: vec![name.clone()],
            attribute,
            ..Default::default()
        });
        operands.push(name);
    }
    if let Some(bias) = form.bias.and_then(input) {
        let name = format!("{output}.bias");
        let floats = |name: &str| {
            let tensor = graph.initializer.iter().find(|t| t.name == name)?;
            crate::graph::floats(tensor)
        };
        let (_, bias) = floats(&bias)?;
        let (_, a) = floats(&input(form.operands[0][1])?)?;
        let (_, b) = floats(&input(form.operands[1][1])?)?;
        let step = |c: usize| match b.len() {
            1 => a[0] * b[0],
            _ => a[0] * b.get(c).copied().unwrap_or(0.0),
        };
        a.first()?;
        let values: Vec<f32> = bias.iter().enumerate().map(|(c, v)| v * step(c)).collect();
        stored.push(super::tensor::of_floats(
            &name,
            &[values.len() as i64],
            &values,
        ));
        operands.push(name);
    }
    let float = format!("{output}.float");
    nodes.push(NodeProto {
        op_type: form.float.into(),
        name: node.name.clone(),
        input: operands,
        output: vec![float.clone()],
        attribute: node
            .attribute
            .iter()
            .filter(|a| a.name != "channels_last")
            .cloned()
            .collect(),
        ..Default::default()
    });
    let [scale, zero] = form.output;
    let steps = [Some(float), Some(input(scale)?), input(zero)];
    nodes.push(NodeProto {
        op_type: "QuantizeLinear".into(),
        name: format!("{output}.quantize"),
        input: steps.into_iter().flatten().collect(),
        output: vec![output.clone()],
        ..Default::default()
    });
    Some((nodes, stored))
}
