use std::vec;

use super::*;

/// What one case does to good settings.
type Damage = fn(&mut LogMelSettings);

fn speech(frames: u16, windows: u8) -> LogMelSettings {
    LogMelSettings {
        frames,
        step: 1,
        windows,
        ..LogMelSettings::speech_embedding()
    }
}

/// Another scale, another norm, another rate.
fn other() -> LogMelSettings {
    LogMelSettings {
        rate: 8000,
        frame: 200,
        fft: 256,
        hop: 80,
        bands: 20,
        low_hz: 0.0,
        high_hz: 4000.0,
        mel: MelScale::Htk,
        norm: Norm::None,
        floor: 1.0,
        range_db: 60.0,
        ..speech(4, 1)
    }
}

/// As numbers of two bytes, then numbers of four.
fn split(bytes: &[u8], samples: usize, values: usize) -> (Vec<i16>, Vec<f32>, &[u8]) {
    let (samples, rest) = bytes.split_at(2 * samples);
    let (values, rest) = rest.split_at(4 * values);
    let samples = samples.as_chunks().0.iter().map(|&b| i16::from_le_bytes(b));
    let values = values.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
    (samples.collect(), values.collect(), rest)
}

#[test]
fn bands_are_those_of_the_reference() {
    // Written by tests/golden/log_mel.py, seed 7.
    let mut rest: &[u8] = include_bytes!("../../../tests/golden/log_mel.bin");
    let cases = [
        ("vowel", speech(3, 1)),
        ("quiet noise", speech(3, 1)),
        ("a click", speech(3, 1)),
        ("chirp", other()),
    ];
    for (name, settings) in cases {
        let values = usize::from(settings.frames) * usize::from(settings.bands);
        let (samples, expected, after) = split(rest, settings.input_len(), values);
        rest = after;
        let found = settings.decibels(&samples);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
            // Half of 1/128 dB is rounding.
            let away = (f32::from(found) / 128.0 - expected).abs();
            assert!(away < 0.005, "{name}, {i}: {found} / 128, not {expected}");
        }
    }
    assert!(rest.is_empty());
}

#[test]
fn silence_is_at_the_floor_and_a_wrong_length_is_nothing() {
    let settings = speech(3, 2);
    let samples = vec![0; settings.input_len()];
    assert_eq!(settings.decibels(&samples), vec![-12_800; 4 * 32]);
    assert!(settings.decibels(&samples[1..]).is_empty());
    let inputs = Settings::LogMel(settings).inputs(samples.as_slice().into());
    assert_eq!(inputs.unwrap(), vec![-8.0; 2 * 3 * 32]);
}

#[test]
fn the_preset_is_the_encoders_own() {
    let settings = Settings::LogMel(LogMelSettings::speech_embedding());
    assert_eq!(settings.check(), Ok(()));
    assert_eq!(settings.shape(), [76, 32, 1]);
    assert_eq!((settings.windows(), settings.input_len()), (9, 22_752));
    assert_eq!(Settings::parse(&settings.json()).as_ref(), Ok(&settings));
}

#[test]
fn sensors_are_written_as_before() {
    let json = r#"{"kind":"sensor","channels":2,"window":3,"hop":1,"rate":50.0,
        "scale":[0.5,1.0],"mean":[1.0,0.0],"std":[2.0,4.0]}"#;
    let settings = Settings::parse(json).unwrap();
    assert_eq!(Settings::parse(&settings.json()).as_ref(), Ok(&settings));
    assert_eq!((settings.shape(), settings.input_len()), ([1, 3, 2], 6));
    let counts = [4, 8, 0, 0, -2, -4];
    let input = settings.inputs((&counts).into()).unwrap();
    assert_eq!(input, [0.5, 2.0, -0.5, 0.0, -1.0, -1.0]);
    let Settings::Sensor(sensor) = &settings else {
        panic!("a sensor");
    };
    assert_eq!(
        sensor.input(&counts, false),
        [0.5, -0.5, -1.0, 2.0, 0.0, -1.0]
    );
    assert_eq!(sensor.counts(&[1.0, -1e9]), [2, -32_768]);
}

#[test]
fn settings_out_of_range_are_refused_with_what_may_be() {
    let cases = [
        (r#"{"kind":"radar"}"#, "unknown variant"),
        ("", "can't be read"),
        (
            r#"{"kind":"sensor","channels":0,"window":3,"hop":1,"rate":1,"scale":[],"mean":[],"std":[]}"#,
            "1 to 4096",
        ),
        (
            r#"{"kind":"sensor","channels":1,"window":3,"hop":4,"rate":1,"scale":[1],"mean":[0],"std":[1]}"#,
            "1 to `window`",
        ),
        (
            r#"{"kind":"sensor","channels":1,"window":3,"hop":1,"rate":1,"scale":[0],"mean":[0],"std":[1]}"#,
            "`scale`",
        ),
        (
            r#"{"kind":"sensor","channels":1,"window":3,"hop":1,"rate":1,"scale":[1],"mean":[0],"std":[-1]}"#,
            "`std`",
        ),
        (
            r#"{"kind":"image","height":1,"width":9,"channels":1,"fit":"crop","mean":[0],"std":[1]}"#,
            "2 to 2048",
        ),
        (
            r#"{"kind":"image","height":9,"width":9,"channels":2,"fit":"crop","mean":[0,0],"std":[1,1]}"#,
            "1 or 3",
        ),
        (
            r#"{"kind":"image","height":9,"width":9,"channels":3,"fit":"crop","mean":[0],"std":[1]}"#,
            "a channel",
        ),
        (
            r#"{"kind":"image","height":9,"width":9,"channels":1,"fit":"crop","crop":1.5,"mean":[0],"std":[1]}"#,
            "`crop`",
        ),
        (
            r#"{"kind":"image","height":9,"width":9,"channels":1,"fit":"crop","crop":0,"mean":[0],"std":[1]}"#,
            "`crop`",
        ),
        (
            r#"{"kind":"image","height":9,"width":9,"channels":1,"fit":"stretch","crop":0.5,"mean":[0],"std":[1]}"#,
            "`crop`",
        ),
        (
            r#"{"kind":"image","height":9,"width":9,"channels":1,"order":"bgr","fit":"crop","mean":[0],"std":[1]}"#,
            "`order`",
        ),
    ];
    for (json, expected) in cases {
        let message = std::format!("{}", Settings::parse(json).expect_err(json));
        assert!(message.contains(expected), "{json}: {message}");
    }
    let damaged: [(Damage, &str); 14] = [
        (|s| s.fft = 500, "`fft`"),
        (|s| s.fft = 8192, "`fft`"),
        (|s| s.frame = 513, "`frame`"),
        (|s| s.hop = 0, "`hop`"),
        (|s| s.rate = 0, "`rate`"),
        (|s| s.high_hz = 8001.0, "`high_hz`"),
        (|s| s.low_hz = f64::NAN, "`low_hz`"),
        (|s| s.floor = 0.0, "`floor`"),
        (|s| s.range_db = -1.0, "`range_db`"),
        (|s| s.step = 77, "`step`"),
        (|s| s.windows = 0, "`windows`"),
        (|s| s.bands = 300, "no bin"),
        (|s| (s.hop, s.windows) = (65_535, 255), "2^24"),
        (|s| s.std = vec![f32::INFINITY], "`std`"),
    ];
    for (damage, expected) in damaged {
        let mut settings = LogMelSettings::speech_embedding();
        damage(&mut settings);
        let message = std::format!(
            "{}",
            Settings::LogMel(settings).check().expect_err(expected)
        );
        assert!(message.contains(expected), "{message}");
    }
}
