//! Contract: no outside byte panics. Every damage to a pack is found, and named.

use std::sync::OnceLock;

use headstart::EncoderPack;
use headstart::ops::geometry;
use headstart::pack::{CRC_FROM, Fault, LayerRecord, PackError, PackHeader, TensorRecord, VERSION};
use headstart_tests::{aligned, fuzzing, third_party};
use headstart_trainer::files::Aligned;
use headstart_trainer::pack::{Options, inputs, pack};
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
    // The checksum does not cover the length.
    let mut nothing = watch();
    nothing[12..16].fill(0);
    let extra = nothing.len();
    assert_eq!(check(&nothing), Err(PackError::TrailingBytes { extra }));
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

/// The tables of a pack, to be changed and put back.
struct Tables {
    header: PackHeader,
    tensors: Vec<TensorRecord>,
    layers: Vec<LayerRecord>,
}

/// What the check says to the watch pack after a `change` of its tables.
fn changed(change: impl FnOnce(&mut Tables)) -> Result<(), PackError> {
    let mut bytes = watch();
    let whole = Aligned::new(&bytes);
    let pack = EncoderPack::new(whole.bytes()).unwrap();
    let mut tables = Tables {
        header: bytemuck::pod_read_unaligned(&bytes[..size_of::<PackHeader>()]),
        tensors: pack.tensors().to_vec(),
        layers: pack.layers().to_vec(),
    };
    let (tensors, layers) = (tables.header.tensors_at, tables.header.layers_at);
    change(&mut tables);
    for (at, table) in [
        (0, bytemuck::bytes_of(&tables.header)),
        (tensors, bytemuck::cast_slice(&tables.tensors)),
        (layers, bytemuck::cast_slice(&tables.layers)),
    ] {
        bytes[at as usize..at as usize + table.len()].copy_from_slice(table);
    }
    reseal(&mut bytes);
    check(&bytes)
}

/// Of the watch pack: its first layer; one that pools; a dense one and a tensor of the dense one's
/// output shape that lives meanwhile; the first of two sums.
const FIRST: usize = 0;
const POOL: usize = 1;
const DENSE: usize = 11;
const ALIVE: u16 = 16;
const SUM: usize = 15;

#[test]
fn each_fault_of_a_plan_is_named() {
    struct Case {
        what: &'static str,
        change: fn(&mut Tables),
        fault: Fault,
        index: usize,
    }
    let case = |what, fault, index, change| Case {
        what,
        change,
        fault,
        index,
    };
    let cases: Vec<Case> = vec![
        case("scratch outside", Fault::Scratch, FIRST, |t| {
            t.layers[FIRST].scratch_at = t.header.arena_bytes / 8 * 8;
        }),
        case(
            "scratch at the end of all memory",
            Fault::Scratch,
            FIRST,
            |t| {
                t.layers[FIRST].scratch_at = u32::MAX - 7;
            },
        ),
        case("scratch between words", Fault::Scratch, FIRST, |t| {
            t.layers[FIRST].scratch_at += 4;
        }),
        case("scratch over the input", Fault::Scratch, FIRST, |t| {
            t.layers[FIRST].scratch_at = t.tensors[0].offset / 8 * 8;
        }),
        case("scratch over the output", Fault::Scratch, DENSE, |t| {
            let output = usize::from(t.layers[DENSE].output);
            t.layers[DENSE].scratch_at = t.tensors[output].offset / 8 * 8;
        }),
        case(
            "scratch over what is read later",
            Fault::Scratch,
            DENSE,
            |t| {
                t.layers[DENSE].scratch_at = t.tensors[usize::from(ALIVE)].offset / 8 * 8;
            },
        ),
        case("scratch of what needs none", Fault::Scratch, POOL, |t| {
            t.layers[POOL].scratch_at = 8;
        }),
        case("no pixel at once", Fault::OutputStage, FIRST, |t| {
            t.layers[FIRST].at_once = 0;
        }),
        case("two pixels at once", Fault::OutputStage, FIRST, |t| {
            t.layers[FIRST].at_once = 2;
        }),
        case(
            "a dense layer four times at once",
            Fault::OutputStage,
            DENSE,
            |t| {
                t.layers[DENSE].at_once = 4;
            },
        ),
        case("a pool at once", Fault::OutputStage, POOL, |t| {
            t.layers[POOL].at_once = 1
        }),
        case(
            "a shift of a sum that is none",
            Fault::OutputStage,
            FIRST,
            |t| {
                t.layers[FIRST].add_shift = 1;
            },
        ),
        case("no shift of a sum", Fault::OutputStage, DENSE, |t| {
            t.layers[DENSE].second_input = ALIVE;
        }),
        case(
            "too large a shift of a sum",
            Fault::OutputStage,
            DENSE,
            |t| {
                (t.layers[DENSE].second_input, t.layers[DENSE].add_shift) = (ALIVE, 25);
            },
        ),
        case("too large a shift up", Fault::OutputStage, DENSE, |t| {
            (t.layers[DENSE].second_input, t.layers[DENSE].add_shift) = (ALIVE, 1);
            t.layers[DENSE].add_up = 25;
        }),
        case("a sum of another shape", Fault::LayerShape, DENSE, |t| {
            (t.layers[DENSE].second_input, t.layers[DENSE].add_shift) = (0, 1);
        }),
        case("a pool that adds", Fault::LayerTensor, POOL, |t| {
            t.layers[POOL].second_input = 0
        }),
        case("a reserved byte", Fault::OutputStage, POOL, |t| {
            t.layers[POOL].reserved[1] = 1
        }),
        case(
            "limits the wrong way round",
            Fault::OutputStage,
            FIRST,
            |t| {
                (t.layers[FIRST].low, t.layers[FIRST].high) = (1, 0);
            },
        ),
        case(
            "what a later layer writes",
            Fault::ReadBeforeWrite,
            SUM,
            |t| {
                t.layers[SUM].second_input = t.layers[SUM + 1].output;
            },
        ),
        case("its own output", Fault::ReadBeforeWrite, SUM, |t| {
            t.layers[SUM].second_input = t.layers[SUM].output;
        }),
        case(
            "two layers that read each other",
            Fault::ReadBeforeWrite,
            SUM,
            |t| {
                t.layers[SUM].input = t.layers[SUM + 1].output;
                t.layers[SUM + 1].input = t.layers[SUM].output;
            },
        ),
        case(
            "one tensor written twice",
            Fault::WrittenTwice,
            SUM + 1,
            |t| {
                t.layers[SUM + 1].output = t.layers[SUM].output;
            },
        ),
        case(
            "an input that is written over where the next reads it",
            Fault::Overlap,
            FIRST + 1,
            |t| {
                let output = usize::from(t.layers[POOL].output);
                t.tensors[output].offset = t.tensors[1].offset;
            },
        ),
        case("a height of 0", Fault::TensorShape, 1, |t| {
            t.tensors[1].height = 0
        }),
        case("a width of 0", Fault::TensorShape, 1, |t| {
            t.tensors[1].width = 0
        }),
        case("no channels", Fault::TensorShape, 1, |t| {
            t.tensors[1].channels = 0
        }),
        case("elements of 4 bytes", Fault::TensorShape, 1, |t| {
            t.tensors[1].element = 4
        }),
        case("int16 with a zero point", Fault::TensorShape, 1, |t| {
            (t.tensors[1].element, t.tensors[1].zero_point) = (2, 1);
        }),
        case("the largest sides", Fault::TensorShape, 1, |t| {
            (t.tensors[1].height, t.tensors[1].width) = (u16::MAX, u16::MAX);
            t.tensors[1].channels = u16::MAX;
        }),
        case("the widest tensor", Fault::TensorPlace, 1, |t| {
            t.tensors[1].width = u16::MAX
        }),
        case(
            "a tensor at the end of all memory",
            Fault::TensorPlace,
            1,
            |t| {
                t.tensors[1].offset = u32::MAX - 3;
            },
        ),
        case("an arena that is too large", Fault::TensorPlace, 0, |t| {
            t.header.arena_bytes = (64 << 20) + 4;
        }),
        case("no groups", Fault::LayerShape, FIRST, |t| {
            t.layers[FIRST].groups = 0
        }),
        case("the most groups", Fault::LayerShape, FIRST, |t| {
            t.layers[FIRST].groups = u16::MAX
        }),
        case("the widest window", Fault::LayerShape, FIRST, |t| {
            (t.layers[FIRST].kernel_height, t.layers[FIRST].kernel_width) = (u16::MAX, u16::MAX);
        }),
        case(
            "a pool with the widest window",
            Fault::LayerShape,
            POOL,
            |t| {
                (t.layers[POOL].kernel_height, t.layers[POOL].kernel_width) = (u16::MAX, u16::MAX);
            },
        ),
        case("the most padding", Fault::LayerShape, FIRST, |t| {
            t.layers[FIRST].pad_left = u16::MAX
        }),
        case("the longest stride", Fault::LayerShape, FIRST, |t| {
            t.layers[FIRST].stride_width = u16::MAX;
        }),
        case("no dilation", Fault::LayerShape, FIRST, |t| {
            t.layers[FIRST].dilation_width = 0
        }),
    ];
    for case in cases {
        let index = case.index as u16;
        let expected = Err(PackError::Invalid {
            fault: case.fault,
            index,
        });
        assert_eq!(changed(case.change), expected, "{}", case.what);
    }
    let sums = changed(|t| {
        (t.layers[DENSE].second_input, t.layers[DENSE].add_shift) = (ALIVE, 24);
    });
    assert_eq!(sums, Ok(()), "a sum that is one");
}

#[test]
fn an_output_that_follows_its_input_too_closely_is_refused() {
    let mut seen = 0;
    let bytes = aligned("models/watch.pack");
    let whole = EncoderPack::new(bytes.bytes()).unwrap();
    for (i, layer) in whole.layers().iter().enumerate() {
        let (input, output) = (usize::from(layer.input), usize::from(layer.output));
        let read = |later: &LayerRecord| [later.input, later.second_input].contains(&layer.input);
        let (from, to) = (&whole.tensors()[input], &whole.tensors()[output]);
        let last = !whole.layers()[i + 1..].iter().any(read);
        let shares = from.place().start < to.place().end && to.place().start < from.place().end;
        let Some(gap) = geometry::least_gap(layer, from, to).filter(|_| last && shares) else {
            continue;
        };
        let near = from.offset - gap.next_multiple_of(4) as u32;
        assert_eq!(changed(|t| t.tensors[output].offset = near), Ok(()), "{i}");
        let refused = changed(|t| t.tensors[output].offset = near + 4);
        let expected = PackError::Invalid {
            fault: Fault::Overlap,
            index: i as u16,
        };
        assert_eq!(refused, Err(expected));
        seen += 1;
    }
    assert!(seen > 0, "no output follows its input");
}

/// Other people's keyword spotter, packed with noise: it has the kinds that the watch pack has not.
fn keywords() -> Option<&'static [u8]> {
    static BYTES: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let path = third_party("mlperf_tiny_kws.onnx")?;
        let (encoder, windows) = inputs(&path, None, 8).unwrap_or_else(|_| panic!("it is read"));
        let (bytes, _) = pack(&encoder, &windows, &Options::default()).expect("it packs");
        Some(bytes)
    });
    bytes.as_deref()
}

/// Changes bytes of the tables, where a change means most: they stand before the weights.
fn patched(bytes: &[u8], patches: &[(prop::sample::Index, u8)]) -> fuzzing::Aligned {
    let mut bytes = bytes.to_vec();
    let tables = bytes.len().min(4096);
    for (index, value) in patches {
        bytes[index.index(tables)] = *value;
    }
    let mut sealed = fuzzing::Aligned::new(&bytes);
    sealed.reseal();
    sealed
}

/// What is damaged below is small enough to be run where it stays whole.
#[test]
fn undamaged_packs_run() {
    assert!(fuzzing::runs(patched(&watch(), &[]).bytes()));
    assert!(keywords().is_none_or(|bytes| fuzzing::runs(patched(bytes, &[]).bytes())));
    let mut random = 1u64;
    let mut choice = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 56) as u8
    };
    let small = || (0..100).map(|_| choice()).collect::<Vec<u8>>();
    let ran = std::iter::repeat_with(small)
        .take(1000)
        .filter(|choices| fuzzing::tables(choices));
    let ran = ran.count();
    assert!(ran > 150, "{ran} of 1000 small packs ran");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever passes the check also runs: no panic, no read outside, the same bits in every kernel
    /// and in every plan.
    #[test]
    fn what_passes_the_check_runs(patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        fuzzing::runs(patched(&watch(), &patches).bytes());
        if let Some(keywords) = keywords() {
            fuzzing::runs(patched(keywords, &patches).bytes());
        }
    }

    /// The same with packs of every kind of layer, made from random choices.
    #[test]
    fn small_packs_of_every_kind_run(choices in prop::collection::vec(any::<u8>(), 20..200)) {
        fuzzing::tables(&choices);
    }

    /// Bytes from nowhere.
    #[test]
    fn random_bytes_are_no_pack(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut bytes = bytes;
        prop_assert!(check(&bytes).is_err());
        if bytes.len() >= 128 {
            let total = bytes.len() as u32;
            bytes[..8].copy_from_slice(b"HSPACK\r\n");
            bytes[8..12].copy_from_slice(&[VERSION as u8, 0, 0, 0]);
            bytes[12..16].copy_from_slice(&total.to_le_bytes());
            reseal(&mut bytes);
            prop_assert!(check(&bytes).is_err());
        }
    }
}
