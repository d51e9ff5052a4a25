//! Packs of each kind of front end, whose one layer hands the input on: the embedding is the input.

use std::vec;
use std::vec::Vec;

use super::settings::{Arena, ImageSettings, LogMelSettings, Settings};
use super::*;
use crate::encoder::PackedEncoder;
use crate::pack::{
    CRC_FROM, EncoderPack, Fault, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackError, PackHeader,
    VERSION,
};

const STEP: f32 = 0.0625;
const ZERO_POINT: i8 = 5;

/// What one case does to a good section.
type Change<'a> = dyn Fn(&mut LogMelRecord) + 'a;

/// 8-aligned, as in flash.
struct Bytes {
    words: Vec<u64>,
    frontend: Range<usize>,
}

impl Bytes {
    fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.words)
    }

    fn seal(&mut self) {
        let bytes = self.bytes();
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[CRC_FROM..]);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    }

    fn check(&self) -> Result<EncoderPack<'_>, PackError> {
        EncoderPack::new(bytemuck::cast_slice(&self.words))
    }
}

fn add(file: &mut Vec<u8>, section: &[u8]) -> u32 {
    file.resize(file.len().next_multiple_of(8), 0);
    file.extend_from_slice(section);
    (file.len() - section.len()) as u32
}

fn pack(settings: &Settings) -> Bytes {
    let sides = settings.shape().map(|side| side as u16);
    let tensor = |offset: usize| TensorRecord {
        offset: offset as u32,
        height: sides[0],
        width: sides[1],
        channels: sides[2],
        element: 1,
        zero_point: ZERO_POINT,
        scale: STEP,
    };
    let input = tensor(8);
    let output = tensor(input.place().end.next_multiple_of(4));
    let arena = Arena {
        bytes: output.place().end,
        input: input.place(),
        dim: input.len(),
    };
    let section = settings
        .section(STEP.into(), ZERO_POINT.into(), arena)
        .unwrap();
    let mut file = vec![0; size_of::<PackHeader>()];
    let table: Vec<u8> = (0..=255u8).map(|i| i.wrapping_sub(128)).collect();
    let layer = LayerRecord {
        kind: LayerKind::Lookup as u8,
        shift: 1,
        low: -128,
        high: 127,
        second_input: NO_TENSOR,
        output: 1,
        weights_at: add(&mut file, &table),
        ..bytemuck::Zeroable::zeroed()
    };
    let frontend_at = add(&mut file, &section.bytes);
    let mut header = PackHeader {
        magic: MAGIC,
        version: VERSION,
        arena_bytes: section.arena_bytes.next_multiple_of(4) as u32,
        tensor_count: 2,
        layer_count: 1,
        dim: input.len() as u16,
        embedding_tensor: 1,
        embedding_step: 1.0,
        tensors_at: add(&mut file, bytemuck::cast_slice(&[input, output])),
        layers_at: add(&mut file, bytemuck::bytes_of(&layer)),
        frontend_at,
        frontend_bytes: section.bytes.len() as u32,
        centre_at: add(&mut file, &vec![0; 4 * input.len()]),
        metadata_at: add(&mut file, &[]),
        ..bytemuck::Zeroable::zeroed()
    };
    add(&mut file, &[]);
    header.total_bytes = file.len() as u32;
    file[..size_of::<PackHeader>()].copy_from_slice(bytemuck::bytes_of(&header));
    let mut words = vec![0; file.len() / 8];
    bytemuck::cast_slice_mut(&mut words).copy_from_slice(&file);
    let start = frontend_at as usize;
    let mut bytes = Bytes {
        words,
        frontend: start..start + section.bytes.len(),
    };
    bytes.seal();
    bytes
}

/// What the encoder's layer hands on.
fn run(pack: EncoderPack<'_>, signal: Signal<'_>) -> Result<Vec<i8>, EmbedError> {
    let mut arena = vec![0xAAAA_AAAA; pack.arena_bytes() / 4];
    let mut encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena).unwrap();
    let arena = encoder.run(signal, |_, _| {})?;
    Ok(arena[pack.embedding_tensor().place()].to_vec())
}

fn sound(windows: u8) -> LogMelSettings {
    LogMelSettings {
        rate: 4000,
        frame: 50,
        fft: 64,
        hop: 20,
        bands: 6,
        low_hz: 100.0,
        high_hz: 2000.0,
        frames: 5,
        step: 2,
        windows,
        mean: vec![20.0],
        std: vec![12.5],
        ..LogMelSettings::speech_embedding()
    }
}

fn picture(channels: u16) -> ImageSettings {
    let json = r#"{"kind":"image","height":6,"width":5,"channels":3,"order":"bgr","fit":"crop",
        "crop":0.9,"mean":[100,110,120],"std":[40,50,60]}"#;
    let Ok(Settings::Image(mut settings)) = Settings::parse(json) else {
        panic!("an image");
    };
    if channels == 1 {
        settings.order = settings::Order::Rgb;
        settings.channels = 1;
        settings.mean.truncate(1);
        settings.std.truncate(1);
    }
    settings
}

fn noise(length: usize, size: i32) -> Vec<i16> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) as i32 % (2 * size) - size) as i16
    };
    (0..length).map(next).collect()
}

/// The mean over windows of inputs as int8; the float path's is within a step of it.
fn expected(settings: &Settings, signal: Signal<'_>) -> Vec<f32> {
    let input = settings.inputs(signal).unwrap();
    let windows = settings.windows();
    let length = input.len() / windows;
    let step = |v: f32| (v / STEP + f32::from(ZERO_POINT)).clamp(-128.0, 127.0);
    let mean = |i: usize| {
        (0..windows)
            .map(|w| step(input[w * length + i]))
            .sum::<f32>()
    };
    (0..length).map(|i| mean(i) / windows as f32).collect()
}

#[test]
fn the_device_sees_what_a_float_runtime_sees() {
    let pixels: Vec<u8> = noise(23 * 31 * 3, 128)
        .iter()
        .map(|&v| (v + 128) as u8)
        .collect();
    let image = Image::new(23, 31, 3, &pixels).unwrap();
    let clip = noise(sound(4).clone().frames as usize * 1000, 9000);
    let mut cases: Vec<(Settings, Signal<'_>)> = vec![
        (Settings::Image(picture(3)), image.into()),
        (Settings::Image(picture(1)), image.into()),
    ];
    for windows in [1, 2, 4] {
        let settings = Settings::LogMel(sound(windows));
        let length = settings.input_len();
        cases.push((settings, clip[..length].into()));
    }
    for (settings, signal) in cases {
        let bytes = pack(&settings);
        let pack = bytes.check().unwrap();
        assert_eq!(pack.frontend().input_len(), settings.input_len());
        assert_eq!(pack.frontend().windows(), settings.windows());
        let found = run(pack, signal).unwrap();
        assert!(found.iter().any(|&v| v.abs() > 10), "{found:?}");
        for (&found, expected) in found.iter().zip(expected(&settings, signal)) {
            let near = (f32::from(found) - expected).abs() <= 1.1;
            assert!(near, "{found}, not {expected}");
        }
    }
}

#[test]
fn a_signal_of_the_wrong_kind_or_length_is_refused() {
    let image = Image::new(1, 1, 1, &[0]).unwrap();
    let takes = |takes| EmbedError::WrongSignal { takes };
    let sound = Settings::LogMel(sound(2));
    let expected = sound.input_len();
    let length = EmbedError::InputLength { expected, got: 3 };
    let cases: [(&Settings, Signal<'_>, EmbedError); 3] = [
        (&sound, image.into(), takes("samples of sound")),
        (&sound, (&[1, 2, 3]).into(), length),
        (
            &Settings::Image(picture(1)),
            (&[1, 2, 3]).into(),
            takes("images"),
        ),
    ];
    for (settings, signal, error) in cases {
        let bytes = pack(settings);
        assert_eq!(run(bytes.check().unwrap(), signal), Err(error));
        assert_eq!(settings.inputs(signal), Err(error));
    }
}

#[test]
fn damaged_sections_are_refused_or_run() {
    let all = [
        Settings::LogMel(sound(3)),
        Settings::LogMel(sound(1)),
        Settings::Image(picture(3)),
    ];
    let image = Image::new(7, 9, 3, &[77; 189]).unwrap();
    for settings in &all {
        let mut bytes = pack(settings);
        let (mut refused, mut ran) = (0, 0);
        for at in bytes.frontend.clone() {
            let was = bytes.bytes()[at];
            for value in [0, 1, was ^ 1, was ^ 0x80, !was, 255, was.wrapping_add(4)] {
                bytes.bytes()[at] = value;
                bytes.seal();
                match bytes.check() {
                    Err(fault) => {
                        let found = fault;
                        let wanted = Fault::FrontEnd;
                        assert_eq!(
                            found,
                            PackError::Invalid {
                                fault: wanted,
                                index: 0
                            }
                        );
                        refused += 1;
                    }
                    Ok(pack) => {
                        let samples = noise(pack.frontend().input_len(), 32_000);
                        let signal = match pack.frontend() {
                            FrontEnd::Image(_) => image.into(),
                            _ => Signal::Samples(&samples),
                        };
                        assert!(run(pack, signal).is_ok());
                        ran += 1;
                    }
                }
            }
            bytes.bytes()[at] = was;
        }
        assert!(refused > 50 && ran > 50, "{refused} refused, {ran} ran");
    }
}

#[test]
fn memory_that_is_not_the_front_ends_own_is_refused() {
    let bytes = pack(&Settings::LogMel(sound(3)));
    let pack_of = |change: &Change<'_>| {
        let mut words = bytes.words.clone();
        let section: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        let head = &mut section[bytes.frontend.clone()][..size_of::<LogMelRecord>()];
        change(bytemuck::from_bytes_mut(head));
        let mut changed = Bytes {
            words,
            frontend: bytes.frontend.clone(),
        };
        changed.seal();
        changed.check().map(|_| ())
    };
    assert_eq!(pack_of(&|_| ()), Ok(()));
    let FrontEnd::LogMel(log_mel) = bytes.check().unwrap().frontend() else {
        panic!("sound");
    };
    let ([sums, clip], scratch) = (log_mel.kept(30), log_mel.scratch());
    assert!(
        scratch.end > sums.start,
        "the scratch takes bytes of the sums"
    );
    let cases: [(&str, &Change<'_>); 6] = [
        ("kept over the input", &|r| r.kept_at = 8),
        ("kept over the output", &|r| r.kept_at = 60),
        ("kept beyond the arena", &|r| {
            r.kept_at = sums.start as u32 + 8
        }),
        ("kept nowhere", &|r| r.kept_at = u32::MAX - 3),
        ("scratch over the clip", &|r| {
            r.scratch_at = clip.start as u32 - 8
        }),
        ("scratch beyond the arena", &|r| {
            r.scratch_at = clip.end as u32
        }),
    ];
    for (what, change) in cases {
        assert!(pack_of(change).is_err(), "{what}");
    }
}
