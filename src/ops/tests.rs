//! Every kernel against the definition, apart and as close as a plan may put it.

pub(super) mod case;
mod definition;
mod follow;
pub(super) mod packed;

use std::vec;

use case::{Case, Random};
use packed::Places;

use super::{AllKernels, Kernels, PortableKernels};
use crate::encoder::EncoderError;
use crate::pack::{Artefact, LayerKind};
use crate::{EncoderPack, PackedEncoder};

#[test]
fn every_kernel_follows_the_definition_on_random_shapes_and_values() {
    let mut random = Random(7);
    for kind in LayerKind::ALL {
        for round in 0..2000 {
            let case = Case::random(kind, &mut random);
            let places = Places::apart(&case, &mut random);
            let inputs = &case.tensors[..case.tensors.len() - 1];
            let values: vec::Vec<_> = inputs.iter().map(|t| random.values(t)).collect();
            let expected = definition::output(&case, &values);
            let what = || std::format!("{kind:?} {round} {:?} {:?}", case.record, case.tensors);
            let portable = case.run::<PortableKernels>(&places, &values);
            assert_eq!(portable, expected, "{}", what());
            let native = case.run::<AllKernels>(&places, &values);
            assert_eq!(native, expected, "{}", what());
        }
    }
}

/// A checked pack of one random layer, and what is asked of it.
fn with_pack(kind: LayerKind, see: impl FnOnce(EncoderPack<'_>)) {
    let mut random = Random(9);
    let case = Case::random(kind, &mut random);
    let bytes = case.pack(&Places::apart(&case, &mut random));
    see(bytes.check().expect("a valid pack"));
}

#[test]
fn what_does_not_fit_is_named() {
    with_pack(LayerKind::Dense, |pack| {
        let needed = pack.arena_bytes() / 4;
        let mut arena = vec![0; needed];
        let small = PackedEncoder::<AllKernels>::new(pack, &mut arena[1..]).err();
        assert_eq!(small, Some(EncoderError::ArenaTooSmall { needed }));
        // The layer that feeds it is a convolution.
        let without = PackedEncoder::<crate::kernels!(Conv)>::new(pack, &mut arena).err();
        assert_eq!(without, Some(EncoderError::MissingKernel(LayerKind::Dense)));
        let _: Artefact = pack.artefact();
    });
    for kind in LayerKind::ALL {
        assert_eq!(<crate::kernels!(Conv)>::has(kind), kind == LayerKind::Conv);
        assert!(AllKernels::has(kind) && <PortableKernels>::has(kind));
    }
}
