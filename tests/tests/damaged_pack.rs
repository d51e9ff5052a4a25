//! Contract: no outside byte panics. Every damage to a pack is found, and named.

use headstart::pack::{CRC_FROM, Fault, PackError, VERSION};
use headstart::{Encoder, EncoderPack, PackedEncoder};
use headstart_tests::aligned;
use headstart_trainer::files::Aligned;
use proptest::prelude::*;

fn watch() -> Vec<u8> {
    aligned("models/watch.pack").bytes().to_vec()
}

fn check(bytes: &[u8]) -> Result<(), PackError> {
    EncoderPack::new(Aligned::new(bytes).bytes()).map(|_| ())
}

/// Makes the checksum match again, so that the checks behind it are reached.
fn reseal(bytes: &mut [u8]) {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn every_truncation_says_how_much_is_missing() {
    let whole = Aligned::new(&watch());
    let total = whole.bytes().len();
    for length in 0..total {
        let needed = if length < 128 { 128 } else { total };
        let found = EncoderPack::new(&whole.bytes()[..length]).map(|_| ());
        assert_eq!(
            found,
            Err(PackError::Truncated {
                needed,
                got: length
            })
        );
    }
}

#[test]
fn ten_thousand_flipped_bits_are_all_found() {
    let mut bytes = watch();
    let mut random = 1u64;
    for _ in 0..10_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bit = (random >> 20) as usize % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        let fault = check(&bytes).expect_err("a flipped bit went unnoticed");
        let expected = match bit / 8 {
            0..8 => matches!(fault, PackError::NotAPack),
            8..10 => matches!(fault, PackError::Version { .. }),
            10..12 => matches!(
                fault,
                PackError::Invalid {
                    fault: Fault::Reserved,
                    ..
                } | PackError::Checksum
            ),
            12..16 => matches!(
                fault,
                PackError::Truncated { .. } | PackError::TrailingBytes { .. } | PackError::Checksum
            ),
            _ => matches!(fault, PackError::Checksum),
        };
        assert!(expected, "byte {}: {fault}", bit / 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(check(&bytes), Ok(()));
}

#[test]
fn another_version_another_file_and_a_shifted_file_are_named() {
    let mut newer = watch();
    newer[8] = VERSION as u8 + 1;
    assert_eq!(
        check(&newer),
        Err(PackError::Version { found: VERSION + 1 })
    );
    assert_eq!(
        check(b"not a pack at all, but a text"),
        Err(PackError::NotAPack)
    );
    assert_eq!(
        check(&[]),
        Err(PackError::Truncated {
            needed: 128,
            got: 0
        })
    );
    let mut longer = watch();
    longer.extend([0; 3]);
    assert_eq!(check(&longer), Err(PackError::TrailingBytes { extra: 3 }));
    let mut shifted = vec![0];
    shifted.extend(watch());
    let shifted = Aligned::new(&shifted);
    assert_eq!(
        EncoderPack::new(&shifted.bytes()[1..]).err(),
        Some(PackError::Misaligned)
    );
}

/// A writer's faults, behind a checksum that matches.
#[test]
fn each_fault_behind_a_valid_checksum_is_named() {
    struct Case {
        what: &'static str,
        at: fn(&[u8]) -> usize,
        bytes: &'static [u8],
        fault: Fault,
    }
    fn word(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
    }
    fn tensor(bytes: &[u8]) -> usize {
        word(bytes, 36)
    }
    fn layer(bytes: &[u8]) -> usize {
        word(bytes, 40)
    }
    let cases = [
        Case {
            what: "reserved flags",
            at: |_| 10,
            bytes: &[1],
            fault: Fault::Reserved,
        },
        Case {
            what: "an odd arena",
            at: |_| 20,
            bytes: &[1],
            fault: Fault::TensorPlace,
        },
        Case {
            what: "no layers",
            at: |_| 26,
            bytes: &[0, 0],
            fault: Fault::Count,
        },
        Case {
            what: "too many tensors",
            at: |_| 24,
            bytes: &[255, 255],
            fault: Fault::Count,
        },
        Case {
            what: "a NaN step",
            at: |_| 32,
            bytes: &[0, 0, 0xC0, 0x7F],
            fault: Fault::EmbeddingTensor,
        },
        Case {
            what: "tensors outside",
            at: |_| 36,
            bytes: &[0xFC, 0xFF, 0xFF, 0x7F],
            fault: Fault::Section,
        },
        Case {
            what: "a zero width",
            at: |b| tensor(b) + 6,
            bytes: &[0, 0],
            fault: Fault::TensorShape,
        },
        Case {
            what: "a huge tensor",
            at: |b| tensor(b) + 4,
            bytes: &[255; 6],
            fault: Fault::TensorShape,
        },
        Case {
            what: "a tensor outside",
            at: |b| tensor(b) + 2,
            bytes: &[255],
            fault: Fault::TensorPlace,
        },
        Case {
            what: "an unknown layer",
            at: |b| layer(b),
            bytes: &[99],
            fault: Fault::LayerKind,
        },
        Case {
            what: "an unknown tensor",
            at: |b| layer(b) + 6,
            bytes: &[200],
            fault: Fault::LayerTensor,
        },
        Case {
            what: "a read before a write",
            at: |b| layer(b) + 6,
            bytes: &[2],
            fault: Fault::LayerShape,
        },
        Case {
            what: "a stride of zero",
            at: |b| layer(b) + 20,
            bytes: &[0, 0],
            fault: Fault::LayerShape,
        },
        Case {
            what: "weights outside",
            at: |b| layer(b) + 35,
            bytes: &[0x70],
            fault: Fault::LayerData,
        },
        Case {
            what: "a shift of 60",
            at: |b| layer(b) + 1,
            bytes: &[60],
            fault: Fault::OutputStage,
        },
        Case {
            what: "an unknown front end",
            at: |b| word(b, 44),
            bytes: &[7],
            fault: Fault::FrontEnd,
        },
        Case {
            what: "metadata in Latin-1",
            at: |b| word(b, 64),
            bytes: &[0xE9],
            fault: Fault::Metadata,
        },
        Case {
            what: "a rank of 200",
            at: |b| word(b, 56),
            bytes: &[200],
            fault: Fault::Background,
        },
    ];
    for Case {
        what,
        at,
        bytes: patch,
        fault,
    } in cases
    {
        let mut bytes = watch();
        let at = at(&bytes);
        bytes[at..at + patch.len()].copy_from_slice(patch);
        reseal(&mut bytes);
        match check(&bytes) {
            Err(PackError::Invalid { fault: found, .. }) => assert_eq!(found, fault, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_layer_that_overwrites_what_is_still_needed_is_refused() {
    let bytes = watch();
    let pack = Aligned::new(&bytes);
    let pack = EncoderPack::new(pack.bytes()).unwrap();
    let tensors = u32::from_le_bytes([bytes[36], bytes[37], bytes[38], bytes[39]]) as usize;
    let (first, second) = (pack.tensors()[0], pack.tensors()[1]);
    let mut moved = bytes.clone();
    let output = tensors + 16;
    moved[output..output + 4].copy_from_slice(&first.offset.to_le_bytes());
    reseal(&mut moved);
    let refused = check(&moved);
    let fits = first.offset as usize + second.bytes() <= pack.arena_bytes();
    let expected = if fits {
        Fault::Overlap
    } else {
        Fault::TensorPlace
    };
    assert_eq!(
        refused,
        Err(PackError::Invalid {
            fault: expected,
            index: if fits { 0 } else { 1 }
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever passes the check also runs: no panic, no read outside, bounded work.
    #[test]
    fn what_passes_the_check_runs(patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = watch();
        // The tables, where a change means most: everything before the weights.
        let tables = bytes.len().min(4096);
        for (index, value) in patches {
            bytes[index.index(tables)] = value;
        }
        reseal(&mut bytes);
        let aligned = Aligned::new(&bytes);
        if let Ok(pack) = EncoderPack::new(aligned.bytes()) {
            let mut arena = vec![0; pack.arena_bytes() / 4];
            let mut encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena).unwrap();
            let mut embedding = vec![0; pack.dim()];
            let _ = encoder.embed(&vec![1000; pack.frontend().len()], &mut embedding);
        }
    }

    /// Bytes from nowhere.
    #[test]
    fn random_bytes_are_no_pack(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut bytes = bytes;
        prop_assert!(check(&bytes).is_err());
        if bytes.len() >= 128 {
            let total = bytes.len() as u32;
            bytes[..8].copy_from_slice(b"HSPACK\r\n");
            bytes[8..12].copy_from_slice(&[1, 0, 0, 0]);
            bytes[12..16].copy_from_slice(&total.to_le_bytes());
            reseal(&mut bytes);
            prop_assert!(check(&bytes).is_err());
        }
    }
}
