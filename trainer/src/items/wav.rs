//! Clips from WAV files.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use hound::{SampleFormat, WavReader, WavSpec};

use super::Noise;
use crate::augment::{normal, stream};

/// Why a WAV file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// Not a WAV file, or damaged.
    #[error("is no WAV file, or damaged")]
    Damaged(#[from] hound::Error),
    /// A WAV file of a kind that is not read.
    #[error(
        "has {} channel(s) of {}-bit {} at {} Hz; {rate} Hz mono int16 or float is needed: ffmpeg -i IN -ac 1 -ar {rate} -c:a pcm_s16le OUT.wav",
        found.channels, found.bits_per_sample, if found.sample_format == SampleFormat::Int { "int" } else { "float" }, found.sample_rate
    )]
    Format {
        /// What it is.
        found: WavSpec,
        /// Samples a second that are needed.
        rate: u32,
    },
    /// No samples.
    #[error("has no samples")]
    Empty,
    /// A sample that is no number.
    #[error("has NaN or infinity in it; write it again as int16")]
    NotFinite,
}

/// A file as `length` samples, in the middle of silence where it is shorter, cut to its beginning
/// where it is longer. The noise is a function of its seed and `index`.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn clip(
    path: &Path,
    rate: u32,
    length: usize,
    noise: Option<Noise>,
    index: u64,
) -> anyhow::Result<Vec<i16>> {
    let read = || {
        let file = std::fs::File::open(path).map_err(hound::Error::from)?;
        samples(std::io::BufReader::new(file), rate, length)
    };
    let samples = read().with_context(|| path.display().to_string())?;
    Ok(centred(&samples, length, noise, index))
}

/// At most the first `length` samples of a file's bytes, in units of an int16; at least one, and all
/// of them finite.
///
/// # Errors
/// All of [`WavError`].
pub fn samples(bytes: impl Read, rate: u32, length: usize) -> Result<Vec<f32>, WavError> {
    let mut wav = WavReader::new(bytes)?;
    let found = wav.spec();
    let kind = (found.sample_format, found.bits_per_sample);
    let samples: Result<Vec<f32>, hound::Error> = match kind {
        _ if (found.channels, found.sample_rate) != (1, rate) => {
            return Err(WavError::Format { found, rate });
        }
        (SampleFormat::Int, 16) => {
            let values = wav.samples::<i16>().take(length);
            values.map(|v| v.map(f32::from)).collect()
        }
        (SampleFormat::Float, 32) => {
            let values = wav.samples::<f32>().take(length);
            values.map(|v| v.map(|v| v * 32768.0)).collect()
        }
        _ => return Err(WavError::Format { found, rate }),
    };
    let samples = samples?;
    if samples.is_empty() {
        return Err(WavError::Empty);
    }
    match samples.iter().all(|v| v.is_finite()) {
        true => Ok(samples),
        false => Err(WavError::NotFinite),
    }
}

/// Puts at most `length` samples in the middle of a clip, and noise over all of it.
fn centred(samples: &[f32], length: usize, noise: Option<Noise>, index: u64) -> Vec<i16> {
    let mut clip = vec![0.0; length];
    let first = (length - samples.len()) / 2;
    clip[first..first + samples.len()].copy_from_slice(samples);
    if let Some(Noise { snr, seed }) = noise {
        let squares: f64 = samples.iter().map(|&v| f64::from(v).powi(2)).sum();
        let power = squares / samples.len() as f64;
        let deviation = (power / 10f64.powf(f64::from(snr) / 10.0)).sqrt() as f32;
        let mut rng = stream(seed, 0, 0, index);
        for value in &mut clip {
            *value += deviation * normal(&mut rng);
        }
    }
    let sample = |v: &f32| v.round_ties_even().clamp(-32768.0, 32767.0) as i16;
    clip.iter().map(sample).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const RATE: u32 = 16_000;
    const CLIP: usize = 24_000;

    fn samples(bytes: impl Read) -> Result<Vec<f32>, WavError> {
        super::samples(bytes, RATE, CLIP)
    }

    fn centred(samples: &[f32], snr: Option<f32>, seed: u64, index: u64) -> Vec<f32> {
        let noise = snr.map(|snr| Noise { snr, seed });
        let clip = super::centred(samples, CLIP, noise, index);
        clip.into_iter().map(f32::from).collect()
    }

    fn wav(spec: WavSpec, write: impl Fn(&mut hound::WavWriter<&mut Cursor<Vec<u8>>>)) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).expect("header");
        write(&mut writer);
        writer.finalize().expect("length");
        bytes.into_inner()
    }

    const INT16: WavSpec = WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };

    fn tone(length: usize) -> Vec<f32> {
        let sample = |t: usize| (3000.0 * (t as f32 * 0.2).sin()).round();
        (0..length).map(sample).collect()
    }

    fn int16(samples: &[f32]) -> Vec<u8> {
        wav(INT16, |w| {
            for &v in samples {
                w.write_sample(v as i16).expect("sample");
            }
        })
    }

    #[test]
    fn a_clip_is_centred() {
        let tone = tone(1001);
        let read = samples(Cursor::new(int16(&tone))).expect("a clip");
        assert_eq!(read, tone);
        let clip = centred(&read, None, 0, 0);
        let first = (CLIP - 1001) / 2;
        assert_eq!(clip.len(), CLIP);
        assert_eq!(clip[first..first + 1001], tone);
        assert!(clip[..first].iter().all(|&v| v == 0.0));
        assert!(clip[first + 1001..].iter().all(|&v| v == 0.0));
    }

    #[test]
    fn a_long_clip_is_cut_to_its_beginning() {
        let tone = tone(CLIP + 5000);
        let read = samples(Cursor::new(int16(&tone))).expect("a clip");
        assert_eq!(centred(&read, None, 0, 0), tone[..CLIP]);
    }

    #[test]
    fn noise_is_as_loud_as_asked_for() {
        let tone = tone(8000);
        let power = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>() / v.len() as f32;
        let clean = centred(&tone, None, 0, 0);
        for snr in [20.0, 10.0, 0.0, -5.0] {
            let noisy = centred(&tone, Some(snr), 3, 7);
            let noise: Vec<f32> = noisy.iter().zip(&clean).map(|(a, b)| a - b).collect();
            // Over all of the clip, the silence too.
            for part in [&noise[..], &noise[..8000], &noise[8000..16_000]] {
                let measured = 10.0 * (power(&tone) / power(part)).log10();
                assert!((measured - snr).abs() < 0.5, "{snr} dB: {measured}");
            }
        }
        let noisy = |seed, index| centred(&tone, Some(10.0), seed, index);
        assert_eq!(noisy(1, 2), noisy(1, 2));
        assert_ne!(noisy(1, 2), noisy(1, 3));
        assert_ne!(noisy(1, 2), noisy(2, 2));
        assert!(noisy(1, 2).iter().all(|v| v.fract() == 0.0));
        let loud = centred(&[32_767.0; 100], Some(-20.0), 0, 0);
        assert!(loud.iter().all(|v| (-32_768.0..=32_767.0).contains(v)));
    }

    #[test]
    fn floats_have_the_range_of_int16() {
        let spec = WavSpec {
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
            ..INT16
        };
        let write = |values: &'static [f32]| {
            let bytes = wav(spec, |w| {
                values
                    .iter()
                    .for_each(|&v| w.write_sample(v).expect("sample"))
            });
            samples(Cursor::new(bytes))
        };
        let read = write(&[0.5, -1.0, 2.0]).expect("a clip");
        let clip = centred(&read, None, 0, 0);
        let first = (CLIP - 3) / 2;
        assert_eq!(clip[first..first + 3], [16_384.0, -32_768.0, 32_767.0]);
        assert!(matches!(write(&[0.5, f32::NAN]), Err(WavError::NotFinite)));
        assert!(matches!(write(&[]), Err(WavError::Empty)));
    }

    #[test]
    fn other_kinds_are_refused() {
        let kinds = [
            WavSpec {
                channels: 2,
                ..INT16
            },
            WavSpec {
                sample_rate: 44_100,
                ..INT16
            },
            WavSpec {
                bits_per_sample: 24,
                ..INT16
            },
            WavSpec {
                bits_per_sample: 8,
                ..INT16
            },
        ];
        for spec in kinds {
            let bytes = wav(spec, |w| {
                (0..4).for_each(|_| w.write_sample(1i16).expect("sample"))
            });
            let fault = samples(Cursor::new(bytes)).expect_err("refused");
            assert!(matches!(fault, WavError::Format { found, .. } if found == spec));
            let text = fault.to_string();
            assert!(text.contains("ffmpeg") && text.contains(&spec.sample_rate.to_string()));
        }
    }

    #[test]
    fn damage_is_an_error() {
        let good = int16(&tone(64));
        for length in 0..good.len() {
            assert!(samples(&good[..length]).is_err(), "{length} bytes");
        }
        // A damaged header may still be a WAV file; it must not panic.
        for at in 0..44 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = samples(&bytes[..]);
            }
        }
    }
}
