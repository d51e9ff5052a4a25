//! What a whole library and a whole pack do not give: kernels and heads that were left out, and a
//! window without a signal. tests/errors.c has every other status.

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::null_mut;

use headstart::pack::{CRC_FROM, PackHeader};
use headstart::{EncoderPack, PackedEncoder};
use headstart_c_api::{Config, Object, Parts, Prediction, Sizes, Status, Tier};

struct Everything;

impl Parts for Everything {
    type Kernels = headstart::ops::AllKernels;
    const AUTO: bool = true;
}

/// A convolutional encoder needs more.
struct DenseAlone;

impl Parts for DenseAlone {
    type Kernels = headstart::kernels!(Dense);
    const AUTO: bool = true;
}

struct PrototypeAlone;

impl Parts for PrototypeAlone {
    type Kernels = headstart::ops::AllKernels;
    const AUTO: bool = false;
}

static PACK: &[u8] = headstart::include_pack!("../../../models/watch.pack");

/// A learner and all that it lies in.
struct Made<P: Parts> {
    learner: *mut Object<P>,
    _memory: Vec<u64>,
    _arena: Vec<u64>,
}

fn make<P: Parts>(pack: &[u8], tier: Tier) -> Result<Made<P>, Status> {
    let (at, tier) = (pack.as_ptr().cast::<c_void>(), tier as u32);
    let mut sizes = std::mem::MaybeUninit::<Sizes>::uninit();
    // SAFETY: `pack` and `sizes` are whole.
    let sizes = unsafe {
        let status = Object::<P>::pack_sizes(at, pack.len(), 3, tier, sizes.as_mut_ptr());
        assert_eq!(status, Status::Ok);
        sizes.assume_init()
    };
    let mut memory = vec![0u64; sizes.memory as usize / 8];
    let mut arena = vec![0u64; sizes.arena as usize / 8];
    let config = Config {
        pack: at,
        pack_len: pack.len(),
        memory: memory.as_mut_ptr().cast(),
        memory_len: 8 * memory.len(),
        arena: arena.as_mut_ptr().cast(),
        arena_len: 8 * arena.len(),
        max_classes: 3,
        tier,
        false_accepts: 0.0,
    };
    let mut learner = null_mut();
    // SAFETY: the buffers are as long as they say, and stay with the learner.
    match unsafe { Object::<P>::init(&config, &mut learner) } {
        Status::Ok => Ok(Made {
            learner,
            _memory: memory,
            _arena: arena,
        }),
        status => {
            assert!(learner.is_null());
            Err(status)
        }
    }
}

#[test]
fn a_library_without_a_layer_or_a_head_says_so() {
    assert_eq!(
        make::<DenseAlone>(PACK, Tier::Gram).err(),
        Some(Status::MissingKernel)
    );
    for (tier, status) in [
        (Tier::Prototype, None),
        (Tier::Means, Some(Status::MissingHead)),
        (Tier::Gram, Some(Status::MissingHead)),
    ] {
        assert_eq!(make::<PrototypeAlone>(PACK, tier).err(), status, "{tier:?}");
        assert_eq!(make::<Everything>(PACK, tier).err(), None, "{tier:?}");
    }
}

/// The pack with another centre: the raw embedding of `window`, which so becomes the zero vector.
fn deaf_to(window: &[i16]) -> Vec<u64> {
    let pack = EncoderPack::new(PACK).unwrap();
    let mut arena = vec![0u32; pack.arena_bytes() / 4];
    let mut encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena).unwrap();
    let raw = encoder.run(window.into(), |_, _| {}).unwrap();
    let raw: Vec<i32> = bytemuck::cast_slice::<i8, i16>(&raw[pack.embedding_tensor().place()])
        .iter()
        .map(|&v| i32::from(v))
        .collect();
    changed(|header, bytes| {
        let centre = header.centre_at as usize;
        bytes[centre..centre + 4 * raw.len()].copy_from_slice(bytemuck::cast_slice(&raw));
    })
}

/// The pack after a change, with a right checksum.
fn changed(change: impl FnOnce(&PackHeader, &mut [u8])) -> Vec<u64> {
    let mut words = vec![0u64; PACK.len().div_ceil(8)];
    let bytes: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut words)[..PACK.len()];
    bytes.copy_from_slice(PACK);
    change(
        bytemuck::from_bytes(&PACK[..size_of::<PackHeader>()]),
        bytes,
    );
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
    bytes[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
    words
}

#[test]
fn a_pack_without_a_background_teaches_too() {
    let words = changed(|_, bytes| {
        let at = offset_of!(PackHeader, background_bytes);
        bytes[at..at + 4].fill(0);
    });
    let pack = &bytemuck::cast_slice::<u64, u8>(&words)[..PACK.len()];
    let windows: Vec<Vec<i16>> = [31, 57]
        .map(|step| (0..768).map(|i| (i * step % 997) as i16).collect())
        .into();
    for tier in [Tier::Prototype, Tier::Means, Tier::Gram] {
        let made = make::<Everything>(pack, tier).unwrap_or_else(|status| panic!("{status:?}"));
        let mut said = std::mem::MaybeUninit::<Prediction>::uninit();
        for (label, window) in [c"a", c"b"].iter().zip(&windows) {
            // SAFETY: the learner is alive, and every buffer as long as it says.
            let status =
                unsafe { Object::learn(made.learner, label.as_ptr(), window.as_ptr(), 768) };
            assert_eq!(status, Status::Ok, "{tier:?}");
        }
        for (index, window) in windows.iter().enumerate() {
            // SAFETY: as above; `predict` wrote what is read.
            let said = unsafe {
                let status = Object::predict(made.learner, window.as_ptr(), 768, said.as_mut_ptr());
                assert_eq!(status, Status::Ok, "{tier:?}");
                said.assume_init_read()
            };
            assert_eq!(said.index as usize, index, "{tier:?}");
        }
    }
}

#[test]
fn a_window_without_a_signal_teaches_nothing() {
    let silent: Vec<i16> = (0..768).map(|i| (i * 31 % 997) as i16).collect();
    let loud: Vec<i16> = (0..768).map(|i| (i * 57 % 1013) as i16).collect();
    let words = deaf_to(&silent);
    let pack = &bytemuck::cast_slice::<u64, u8>(&words)[..PACK.len()];
    let made = make::<Everything>(pack, Tier::Gram).unwrap_or_else(|status| panic!("{status:?}"));
    let l = made.learner;
    let (mut prediction, mut values, mut classes) =
        (std::mem::MaybeUninit::<Prediction>::uninit(), [7i8; 64], 9);
    let (label, window, len) = (c"a".as_ptr(), silent.as_ptr(), silent.len());
    // SAFETY: the learner is alive, and every buffer as long as it says.
    unsafe {
        let none = Status::NoSignal;
        assert_eq!(Object::learn(l, label, window, len), none);
        assert_eq!(Object::class_count(l, &mut classes), Status::Ok);
        assert_eq!(classes, 0);
        assert_eq!(Object::learn(l, label, loud.as_ptr(), len), Status::Ok);
        assert_eq!(Object::forget(l, label, window, len), none);
        let place = prediction.as_mut_ptr();
        assert_eq!(Object::predict(l, window, len, place), none);
        let place = values.as_mut_ptr();
        assert_eq!(Object::embed(l, window, len, place, 64), none);
        assert_eq!(values, [7; 64]);
        assert_eq!(Object::embed(l, loud.as_ptr(), len, place, 64), Status::Ok);
        assert_ne!(values, [7; 64]);
    }
}
