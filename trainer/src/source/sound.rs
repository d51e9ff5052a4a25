//! Clips of sound as log-mel frames, through the device's own front end.
//!
//! A voice and a room change the samples: each clip is taken several times, with another speed (and
//! so pitch and formants) and other echoes, and the front end hears each take once. What changes
//! from step to step happens to the frames: noise is added in the power of each band, the clip is
//! moved, made louder, and parts of it are hidden.
//!
//! Sources: *Audio Augmentation for Speech Recognition*, Ko et al., 2015 (speed); *SpecAugment*, Park
//! et al., 2019 (hidden bands and frames).

use std::borrow::Cow;

use anyhow::{bail, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Kind, READ_TOGETHER, Source, purpose};
use crate::augment::{normal, stream};
use crate::items::{Items, Owned};
use crate::spool::{Room, Spool};
use headstart::frontend::settings::{LogMelSettings, MelScale, Norm, Settings as FrontEnd};

/// How clips are heard, and how strong each augmentation is; 0 switches it off.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
pub struct SoundSettings {
    /// Samples a second
    #[arg(long, default_value_t = 16_000, value_name = "HZ", value_parser = clap::value_parser!(u32).range(4_000..=48_000))]
    pub sound_rate: u32,
    /// Log-mel bands
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(8..=128))]
    pub sound_bands: u16,
    /// Frames of a clip: 30 ms long, 20 ms apart
    #[arg(long, default_value_t = 49, value_parser = clap::value_parser!(u16).range(8..=500))]
    pub sound_frames: u16,
    /// Takes of each clip: with other speeds and rooms
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub sound_takes: u32,
    /// Speed of a take, and with it pitch: standard deviation of its logarithm
    #[arg(long, default_value_t = 0.12, value_name = "LOG")]
    pub sound_speed: f32,
    /// Echoes of a take: their power over that of the sound
    #[arg(long, default_value_t = 0.2, value_name = "PART")]
    pub sound_room: f32,
    /// Noise in a view: decibels below the clip's power, from 30 down to this
    #[arg(
        long,
        default_value_t = 5.0,
        value_name = "DB",
        allow_negative_numbers = true
    )]
    pub sound_snr: f32,
    /// Moved in time: at most so many frames either way
    #[arg(long, default_value_t = 6.0, value_name = "FRAMES")]
    pub sound_shift: f32,
    /// Loudness: its standard deviation in decibels
    #[arg(long, default_value_t = 6.0, value_name = "DB")]
    pub sound_gain: f32,
    /// Some bands, and some frames, are silent: the probability of each
    #[arg(long, default_value_t = 0.3, value_name = "PROBABILITY")]
    pub sound_mask: f32,
}

impl SoundSettings {
    /// By flag, with the largest value that makes sense.
    pub fn ranges(&self) -> [(&'static str, f32, f32); 6] {
        [
            ("--sound-speed", self.sound_speed, 1.0),
            ("--sound-room", self.sound_room, 10.0),
            ("--sound-snr", self.sound_snr + 100.0, 200.0),
            ("--sound-shift", self.sound_shift, 500.0),
            ("--sound-gain", self.sound_gain, 60.0),
            ("--sound-mask", self.sound_mask, 1.0),
        ]
    }

    /// The front end, before anything is known of the data.
    pub fn frontend(&self) -> LogMelSettings {
        let samples = |ms: u32| (self.sound_rate * ms / 1000) as u16;
        LogMelSettings {
            rate: self.sound_rate,
            frame: samples(30),
            fft: samples(30).next_power_of_two(),
            hop: samples(20),
            bands: self.sound_bands,
            low_hz: 60.0,
            high_hz: f64::from(self.sound_rate) * 0.475,
            mel: MelScale::Htk,
            norm: Norm::None,
            floor: 1.0,
            range_db: 80.0,
            frames: self.sound_frames,
            step: self.sound_frames,
            windows: 1,
            mean: vec![0.0],
            std: vec![1.0],
        }
    }
}

/// Clips as frames in decibels.
pub struct Sounds {
    settings: SoundSettings,
    frontend: LogMelSettings,
    /// [items, takes, frames, bands]; the first take is the clip as it is.
    frames: Spool<f32>,
    /// [items, takes]: the mean power of the sound's samples, in decibels.
    power: Vec<f32>,
    /// White noise of power 1 in each band, in decibels.
    noise: Vec<f32>,
    labels: Vec<String>,
    classes: Vec<u32>,
    groups: Vec<u32>,
}

impl Sounds {
    /// Hears every take of the picked items.
    ///
    /// # Errors
    /// A clip that can't be read, or one without any sound; no room.
    pub fn new(
        items: &Items,
        picked: &[usize],
        settings: SoundSettings,
        seed: u64,
        room: Room,
    ) -> anyhow::Result<Self> {
        let mut frontend = settings.frontend();
        let hear = |samples: &[f32]| {
            let clip: Vec<i16> = samples
                .iter()
                .map(|v| v.round().clamp(-32768.0, 32767.0) as i16)
                .collect();
            FrontEnd::LogMel(frontend.clone()).inputs((&clip[..]).into())
        };
        let length = FrontEnd::LogMel(frontend.clone()).input_len();
        let takes = settings.sound_takes as usize;
        let take = |(n, &i): (usize, &usize)| -> anyhow::Result<(Vec<f32>, Vec<f32>)> {
            let Owned::Samples(clip) = items.get(i, None)? else {
                bail!("pictures in place of sound");
            };
            let clip: Vec<f32> = clip.iter().map(|&v| f32::from(v)).collect();
            ensure!(
                clip.iter().any(|&v| v != 0.0),
                "a clip is silent from start to end"
            );
            let (mut frames, mut power) = (Vec::new(), Vec::new());
            for number in 0..takes {
                let mut rng = stream(seed, purpose::TAKES, number as u64, n as u64);
                let taken = match number {
                    0 => clip.clone(),
                    _ => taken(&clip, &settings, &mut rng),
                };
                power.push(power_db(&taken));
                frames.extend(hear(&taken)?);
            }
            Ok((frames, power))
        };
        let noise = noise_bands(&frontend, length, hear)?;
        let (mut frames, mut power) = (Spool::new(room), Vec::new());
        for (block, picked) in picked.chunks(READ_TOGETHER).enumerate() {
            let numbered = picked.par_iter().enumerate();
            let heard = numbered.map(|(n, i)| take((block * READ_TOGETHER + n, i)));
            for (each, its_power) in heard.collect::<Result<Vec<_>, _>>()? {
                frames.push(each)?;
                power.extend(its_power);
            }
        }
        let count = frames.len().max(1) as f64;
        let mean = frames.iter().map(f64::from).sum::<f64>() / count;
        let squares = frames.iter().map(|v| (f64::from(v) - mean).powi(2));
        frontend.mean = vec![mean as f32];
        frontend.std = vec![((squares.sum::<f64>() / count).sqrt() as f32).max(1.0)];
        let of = |all: &[u32]| picked.iter().filter_map(|&i| all.get(i).copied()).collect();
        Ok(Sounds {
            settings,
            frontend,
            frames,
            power,
            noise,
            labels: items.labels.clone(),
            classes: of(&items.classes),
            groups: of(&items.groups),
        })
    }

    fn take(&self, i: usize, number: usize) -> Cow<'_, [f32]> {
        let size = super::size(self);
        let takes = self.settings.sound_takes as usize;
        let first = (i * takes + number) * size;
        self.frames.get(first..first + size)
    }
}

/// Mean power of the samples between the first and the last that are not silent.
fn power_db(samples: &[f32]) -> f32 {
    let loud = |v: &f32| v.abs() >= 1.0;
    let first = samples.iter().position(loud).unwrap_or(0);
    let last = samples.iter().rposition(loud).unwrap_or(0);
    let inside = &samples[first..=last.min(samples.len() - 1)];
    let squares: f32 = inside.iter().map(|v| v * v).sum();
    10.0 * (squares / inside.len() as f32).max(1e-3).log10()
}

/// A clip in another voice and another room, of the same length.
fn taken(clip: &[f32], settings: &SoundSettings, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let speed = (settings.sound_speed * normal(rng)).clamp(-0.4, 0.4).exp();
    let middle = (clip.len() as f32 - 1.0) / 2.0;
    let at = |t: usize| {
        let place = middle + (t as f32 - middle) * speed;
        if place < 0.0 || place > (clip.len() - 1) as f32 {
            return 0.0;
        }
        let (left, part) = (place as usize, place.fract());
        let right = (left + 1).min(clip.len() - 1);
        clip[left] * (1.0 - part) + clip[right] * part
    };
    let dry: Vec<f32> = (0..clip.len()).map(at).collect();
    let mut wet = dry.clone();
    // A dozen echoes that die away within a fifth of a second.
    let reach = settings.sound_rate as f32 / 5.0;
    let loudness = settings.sound_room * rng.random::<f32>();
    let echoes: Vec<(usize, f32)> = (0..12)
        .map(|_| {
            let place = rng.random::<f32>();
            let size = (loudness / 4.0).sqrt() * (-3.0 * place).exp() * normal(rng);
            (1 + (place * reach) as usize, size)
        })
        .collect();
    for (delay, size) in echoes {
        for t in delay..wet.len() {
            wet[t] += size * dry[t - delay];
        }
    }
    wet
}

/// What white noise of power 1 comes to in each band, in decibels.
fn noise_bands<E>(
    frontend: &LogMelSettings,
    length: usize,
    hear: impl Fn(&[f32]) -> Result<Vec<f32>, E>,
) -> Result<Vec<f32>, E> {
    const LOUD: f32 = 1000.0;
    let mut rng = stream(0, purpose::TAKES, 0, u64::MAX);
    let samples: Vec<f32> = (0..length).map(|_| LOUD * normal(&mut rng)).collect();
    let frames = hear(&samples)?;
    let bands = usize::from(frontend.bands);
    let mean = |b: usize| {
        let powers = frames
            .iter()
            .skip(b)
            .step_by(bands)
            .map(|v| 10f32.powf(v / 10.0));
        let count = (frames.len() / bands).max(1) as f32;
        10.0 * (powers.sum::<f32>() / count).log10() - 20.0 * LOUD.log10()
    };
    Ok((0..bands).map(mean).collect())
}

impl Sounds {
    /// The same with mean and deviation of another front end, where it is of this kind.
    pub fn scaled_as(mut self, frontend: &FrontEnd) -> Self {
        if let FrontEnd::LogMel(other) = frontend
            && other.mean.len() == self.frontend.mean.len()
        {
            self.frontend.mean = other.mean.clone();
            self.frontend.std = other.std.clone();
        }
        self
    }
}

impl Source for Sounds {
    fn kind(&self) -> Kind {
        Kind::Sound
    }

    fn shape(&self) -> [usize; 3] {
        [1, self.frontend.frames.into(), self.frontend.bands.into()]
    }

    fn len(&self) -> usize {
        self.power.len() / self.settings.sound_takes as usize
    }

    fn plain(&self, i: usize, out: &mut [f32]) {
        let (mean, std) = (self.frontend.mean[0], self.frontend.std[0]);
        for (out, v) in out.iter_mut().zip(&*self.take(i, 0)) {
            *out = (v - mean) / std;
        }
    }

    fn view(
        &self,
        i: usize,
        _second: bool,
        _common: ChaCha8Rng,
        mut rng: ChaCha8Rng,
        out: &mut [f32],
    ) {
        let s = &self.settings;
        let (frames, bands) = (
            usize::from(self.frontend.frames),
            usize::from(self.frontend.bands),
        );
        let number = rng.random_range(0..s.sound_takes as usize);
        let take = self.take(i, number);
        let power = self.power[i * s.sound_takes as usize + number];
        let snr = s.sound_snr + (30.0 - s.sound_snr) * rng.random::<f32>();
        // Noise is white, or leans towards low bands.
        let lean = 10.0 * rng.random::<f32>();
        let quiet = rng.random::<f32>() < 0.2;
        let gain = s.sound_gain * normal(&mut rng);
        let shift = (s.sound_shift * (2.0 * rng.random::<f32>() - 1.0)).round() as isize;
        let (mean, std) = (self.frontend.mean[0], self.frontend.std[0]);
        // The power of a band varies from frame to frame: the mean of a few squared normals.
        let level: Vec<f32> = (0..bands)
            .map(|b| {
                let place = b as f32 / bands as f32;
                let db = power - snr + self.noise[b] + lean * (0.5 - 2.0 * place);
                10f32.powf(db / 10.0)
            })
            .collect();
        for t in 0..frames {
            let from = (t as isize + shift).clamp(0, frames as isize - 1) as usize;
            for b in 0..bands {
                let mut db = take[from * bands + b];
                if !quiet {
                    let chance = rng.random::<f32>() + rng.random::<f32>() + rng.random::<f32>();
                    let noise = level[b] * chance / 1.5;
                    db = 10.0 * (10f32.powf(db / 10.0) + noise).log10();
                }
                out[t * bands + b] = (db + gain - mean) / std;
            }
        }
        for along_time in [true, false] {
            let all = if along_time { frames } else { bands };
            let long = rng.random_range(1..=all / 5);
            let first = rng.random_range(0..=all - long);
            if rng.random::<f32>() >= s.sound_mask {
                continue;
            }
            let hidden = first..first + long;
            for (at, v) in out.iter_mut().enumerate() {
                let place = if along_time { at / bands } else { at % bands };
                if hidden.contains(&place) {
                    *v = 0.0;
                }
            }
        }
    }

    fn group(&self, i: usize) -> u32 {
        self.groups.get(i).copied().unwrap_or(0)
    }

    fn class(&self, i: usize) -> Option<usize> {
        self.classes.get(i).map(|&c| c as usize)
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn frontend(&self) -> Option<FrontEnd> {
        Some(FrontEnd::LogMel(self.frontend.clone()))
    }
}
