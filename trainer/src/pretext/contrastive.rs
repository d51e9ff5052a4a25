//! NT-Xent, the normalised temperature-scaled cross entropy of SimCLR: two views of one window
//! find each other among the views of all the others.
//!
//! Source: *A Simple Framework for Contrastive Learning of Visual Representations*, Chen et al.,
//! 2020, equation 1.

use burn::tensor::Tensor;

use super::{Draw, Encoder, Head, Loss, PROJECTOR, Prepared, Pretext, Targets, halves, two_views};
use crate::network::{Initialiser, Mlp, Network, Shape};
use crate::source::Source;

/// SimCLR.
pub struct Contrastive {
    /// Lower looks harder at the nearest other items.
    pub temperature: f32,
}

impl Pretext for Contrastive {
    fn head(&self, init: &mut Initialiser, shape: Shape, _: &dyn Source, _: &Network) -> Head {
        Head::of(vec![Mlp::new(
            init,
            &[shape.dim, PROJECTOR[0], PROJECTOR[1]],
        )])
    }

    fn prepare(&self, source: &dyn Source, picked: &[usize], draw: Draw) -> Prepared {
        two_views(source, picked, draw)
    }

    fn loss(&self, encoder: &Encoder, head: &Head, x: Tensor<4>, _: &Targets) -> Loss {
        let [first, second] = halves(head.run(0, encoder.forward(x)));
        nt_xent(first, second, self.temperature).into()
    }
}

/// Divides each row by its L2 norm.
pub fn normalise(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().powi_scalar(2).sum_dim(1).add_scalar(1e-12).sqrt();
    x / norm
}

/// The loss over a batch: `a` and `b` are [N, P], row i of both comes from window i. A scalar, in
/// nats; ln(2N - 1) where nothing is told apart.
///
/// Cosines lie within +-1, so the exponentials are taken relative to the largest possible one and
/// neither overflow nor need a maximum.
pub fn nt_xent(a: Tensor<2>, b: Tensor<2>, temperature: f32) -> Tensor<1> {
    let z = normalise(Tensor::cat(vec![a, b], 0));
    let [views, _] = z.dims();
    let cosines = z.clone().matmul(z.clone().transpose());
    let others = Tensor::ones([views, views], &z.device()) - Tensor::eye(views, &z.device());
    let scale = 1.0 / temperature;
    let mass = (cosines.sub_scalar(1.0).mul_scalar(scale).exp() * others).sum_dim(1);
    let [first, second] = [0..views / 2, views / 2..views].map(|half| z.clone().slice([half]));
    let agreement = (first * second).sum_dim(1).sub_scalar(1.0).mean();
    mass.log().mean() - agreement.mul_scalar(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn equals_the_formula_on_a_small_batch() {
        let device = Device::flex();
        let a: Tensor<2> = Tensor::from_data([[1.0, 0.0], [0.0, 2.0]], &device);
        let b: Tensor<2> = Tensor::from_data([[3.0, 0.0], [-1.0, 0.0]], &device);
        // Unit views: a = x, y; b = x, -x. Cosines to the others, at temperature 0.5:
        let e = |cosines: [f64; 3]| cosines.iter().map(|c| (c / 0.5).exp()).sum::<f64>().ln();
        let per_view = [
            e([0.0, 1.0, -1.0]) - 2.0,
            e([0.0, 0.0, 0.0]) - 0.0,
            e([1.0, 0.0, -1.0]) - 2.0,
            e([-1.0, 0.0, -1.0]) - 0.0,
        ];
        let expected = per_view.iter().sum::<f64>() / 4.0;
        let loss = nt_xent(a, b, 0.5).into_scalar::<f32>();
        assert!(
            (f64::from(loss) - expected).abs() < 1e-5,
            "{loss} {expected}"
        );
    }
}
