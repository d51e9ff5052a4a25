//! A convolution over time that learns faster: its weights' gradient is one product of matrices.
//!
//! A tensor library that has no kernel for it makes this gradient of a convolution whose batch are
//! the channels and whose kernel is a whole window long. As a product it is of [out, steps x N] and
//! [steps x N, channels x kernel], the windows innermost, so that each row of the second one is made
//! of whole runs. Forward, and backward to the input, are the library's.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::{ConvOptions, FloatTensorOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::nn::PaddingConfig1d;
use burn::nn::conv::Conv1d;
use burn::tensor::{Shape, Tensor, TensorData};

/// Inputs [N, channels, time] to [N, out, steps]. Fast for what [`super::Initialiser::conv`] makes: one
/// group, no dilation, no bias, the same padding at both ends. All else is the library's.
pub fn convolve(conv: &Conv1d, x: Tensor<3>) -> Tensor<3> {
    match (&conv.padding, &conv.bias, conv.groups, conv.dilation) {
        (&PaddingConfig1d::Explicit(left, right), None, 1, 1) if left == right => {
            let (x, weight) = (x.into_dispatch(), conv.weight.val().into_dispatch());
            let y = <Dispatch as Convolve>::convolve(x, weight, conv.stride, left);
            Tensor::from_dispatch(y)
        }
        _ => conv.forward(x),
    }
}

/// What a backend does for [`convolve`].
#[backend_extension(Flex, Autodiff, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub trait Convolve: Backend {
    /// The convolution itself.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        Self::conv1d(x, weight, None, options(stride, padding))
    }

    /// The weights' gradient, where `gradient` is that of the outputs.
    fn weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        Self::conv1d_weight_backward(x, weight, gradient, options(stride, padding))
    }
}

/// Rows of a product: with more, the pieces in which the matrix library adds up would depend on the
/// processor's caches. Fewer are filled up, as products of up to [`DOTS`] values are added up in
/// another order than larger ones. Both keep the bits those of the library's own gradient, but for
/// batches of four inputs and fewer, which it adds up in a way of its own.
const NARROW: usize = 64;

/// Values of a product that is made of dot products, one by one.
const DOTS: usize = 256;

fn options(stride: usize, padding: usize) -> ConvOptions<1> {
    ConvOptions::new([stride], [padding], [1], 1)
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Convolve for burn::backend::Cube {}

impl Convolve for Flex {
    fn weight_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        gradient: FlexTensor,
        stride: usize,
        padding: usize,
    ) -> FlexTensor {
        let shape = weight.shape();
        let [out, channels, kernel] = shape.dims();
        let [n, _, time] = x.shape().dims();
        let [_, _, steps] = gradient.shape().dims();
        let gradient = gradient.permute(&[1, 2, 0]).to_contiguous();
        let gradient = gradient.reshape(Shape::new([out, steps * n]));
        let gradient = gradient.transpose(0, 1);
        let x = x.permute(&[1, 2, 0]).to_contiguous();
        // What the library's way would multiply at a time: a whole kernel, and what is cut off again.
        let columns = time + 2 * padding - stride * (steps - 1);
        let together = match out * columns {
            0..=DOTS => kernel,
            _ => NARROW.max(kernel),
        };
        let mut found = Vec::with_capacity(channels * kernel * out);
        for part in x.storage::<f32>().chunks(together / kernel * time * n) {
            let mut rows = Vec::with_capacity(together * steps * n);
            for channel in part.chunks_exact(time * n) {
                for offset in 0..kernel {
                    for step in 0..steps {
                        let at = (step * stride + offset).checked_sub(padding);
                        match at.filter(|&at| at < time) {
                            Some(at) => rows.extend_from_slice(&channel[at * n..][..n]),
                            None => rows.resize(rows.len() + n, 0.0),
                        }
                    }
                }
            }
            let filled = rows.len() / (steps * n) * out;
            rows.resize(together * steps * n, 0.0);
            let rows = FlexTensor::from_data(TensorData::new(rows, [together, steps * n]));
            let product = Flex::float_matmul(rows, gradient.clone());
            found.extend_from_slice(&product.storage::<f32>()[..filled]);
        }
        let found = TensorData::new(found, [channels * kernel, out]);
        let found = FlexTensor::from_data(found).transpose(0, 1);
        found.to_contiguous().reshape(shape)
    }
}

impl<B: Convolve, C: CheckpointStrategy> Convolve for Autodiff<B, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Convolved;

        impl<B: Convolve> Backward<B, 2> for Convolved {
            /// Input, weights, stride and padding.
            type State = (NodeId, NodeId, usize, usize);

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                gradients: &mut Gradients,
                checkpointer: &mut Checkpointer,
            ) {
                let [to_x, to_weight] = ops.parents;
                let (x, weight, stride, padding) = ops.state;
                let gradient = gradients.consume::<B>(&ops.node);
                let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);
                let weight = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(weight);
                if let Some(node) = to_x {
                    let found = B::conv1d_x_backward(
                        x.clone(),
                        weight.clone(),
                        gradient.clone(),
                        options(stride, padding),
                    );
                    gradients.register::<B>(node.id, found);
                }
                if let Some(node) = to_weight {
                    let found = B::weight_gradient(x, weight, gradient, stride, padding);
                    gradients.register::<B>(node.id, found);
                }
            }
        }

        let prepared = Convolved.prepare::<C>([x.node(), weight.node()]);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = (
                    prepared.checkpoint(&x),
                    prepared.checkpoint(&weight),
                    stride,
                    padding,
                );
                let y = B::convolve(x.into_primitive(), weight.into_primitive(), stride, padding);
                prepared.finish(state, y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::convolve(
                x.into_primitive(),
                weight.into_primitive(),
                stride,
                padding,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;
    use crate::network::Initialiser;
    use burn::tensor::Device;

    /// To the bit: encoders that were trained before can be trained again.
    #[test]
    fn gradients_are_those_of_the_convolution() {
        let device = Device::flex().autodiff();
        let mut init = Initialiser::new(stream(1, 2, 3, 4), &device);
        for (n, channels, time, out, kernel, stride) in [
            (16, 1, 1, 1, 1, 1),
            (24, 6, 31, 8, 7, 2),
            (24, 6, 128, 24, 7, 2),
            (40, 24, 64, 48, 5, 2),
            (20, 48, 32, 64, 5, 2),
            (20, 3, 9, 4, 3, 1),
            (20, 3, 2, 4, 7, 3),
            (20, 14, 31, 70, 5, 2),
        ] {
            let conv = init.conv(channels, out, kernel, stride);
            let values = init.normals(n * channels * time);
            let values = Tensor::<1>::from_floats(values.as_slice(), &device);
            let x = values.reshape([n, channels, time]).require_grad();
            let (ours, theirs) = (convolve(&conv, x.clone()), conv.forward(x.clone()));
            assert_eq!(ours.to_data(), theirs.to_data());
            let [ours, theirs] = [ours, theirs].map(|y| y.powi_scalar(2).sum().backward());
            let [a, b] = [&ours, &theirs].map(|g| x.grad(g).expect("a gradient"));
            assert_eq!(a.to_data(), b.to_data());
            let [a, b] = [&ours, &theirs].map(|g| conv.weight.val().grad(g).expect("a gradient"));
            assert_eq!(a.to_data(), b.to_data());
        }
    }
}
