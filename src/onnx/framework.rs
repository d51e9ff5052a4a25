//! tract with one check more. Where windows slide it looks up dimensions of shapes that it has not
//! counted, with `get_unchecked`: a convolution over a single number would read what is not there.

use std::boxed::Box;
use std::string::String;
use std::sync::LazyLock;
use std::vec::Vec;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{InferenceModel, InferenceNode, InferenceOp};
use tract_onnx::tract_hir::internal::{
    Expansion, InferenceResult, InferenceRulesOp as _, Solver, StaticName, TensorProxy, Validation,
    expand,
};

/// Operators over [batch, channels, sides ...], and the fewest dimensions that they take.
const SLIDING: [(&str, i64); 7] = [
    ("AveragePool", 3),
    ("BatchNormalization", 2),
    ("Conv", 3),
    ("ConvInteger", 3),
    ("ConvTranspose", 3),
    ("MaxPool", 3),
    ("QLinearConv", 3),
];

/// tract's reader of graphs from somewhere. Shapes that a file stores for another batch size are not
/// held against ours.
pub fn framework() -> Onnx {
    let mut onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    for (operator, _) in SLIDING {
        onnx.op_register.insert(operator, sliding);
    }
    onnx
}

/// The operator of a node as tract builds it, checked.
fn sliding(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    static PLAIN: LazyLock<Onnx> = LazyLock::new(tract_onnx::onnx);
    let operator = node.op_type.as_str();
    let plain = PLAIN.op_register.0.get(operator);
    let least = SLIDING.iter().find(|(name, _)| *name == operator);
    let (Some(build), Some(&(_, least))) = (plain, least) else {
        return Err(TractError::msg(std::format!("{operator} is unknown")));
    };
    let (built, closures) = build(context, node)?;
    let inner = built.as_op().downcast_ref::<Box<dyn Expansion>>();
    let Some(inner) = inner.cloned() else {
        return Err(TractError::msg(std::format!("{operator} is another")));
    };
    let checked = Sliding { inner, least };
    Ok((expand(checked), closures))
}

#[derive(Clone, Debug)]
struct Sliding {
    inner: Box<dyn Expansion>,
    least: i64,
}

impl Expansion for Sliding {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    fn validation(&self) -> Validation {
        self.inner.validation()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.inner.info()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Expansion::nboutputs(self.inner.as_ref())
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        self.inner.wire(prefix, model, inputs)
    }

    fn wire_with_inference_model_and_node(
        &self,
        prefix: &str,
        model: &InferenceModel,
        node: &InferenceNode,
        typed: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        self.inner
            .wire_with_inference_model_and_node(prefix, model, node, typed, inputs)
    }

    // A shape comes from either side; both are looked at before tract's own rules.
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for tensor in inputs.iter().take(1).chain(outputs.iter().take(1)) {
            s.given(&tensor.rank, move |_, rank| match rank >= self.least {
                true => Ok(()),
                false => Err(TractError::msg(std::format!(
                    "{} slides over {} dimensions or more, not over {rank}",
                    self.inner.name(),
                    self.least
                ))),
            })?;
        }
        self.inner.rules(s, inputs, outputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        self.inner.runs_out_of_plan()
    }
}
