//! Pictures, at the encoder's size, seen anew in every step.
//!
//! Each augmentation is a claim about what does not matter. Turned, moved, nearer and lit otherwise
//! a thing is the same; a mirrored digit or letter is another one, and then `--picture-mirror` is 0.
//!
//! Sources: *Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis*,
//! Simard et al., 2003 (affine and elastic distortions); *A Simple Framework for Contrastive
//! Learning of Visual Representations*, Chen et al., 2020 (what views should differ in); *Random
//! Erasing Data Augmentation*, Zhong et al., 2020.

use std::borrow::Cow;
use std::f32::consts::{PI, TAU};

use anyhow::ensure;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Kind, READ_TOGETHER, Source};
use crate::augment::normal;
use crate::items::{Items, Owned};
use crate::spool::{Room, Spool};
use headstart::frontend::settings::{FitSetting, ImageSettings, Order, Settings as FrontEnd};

/// How strong each augmentation of a picture is; 0 switches it off. But for the probabilities they
/// are the largest values, drawn evenly from as far in either direction.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
pub struct PictureStrengths {
    /// How upright a thing stands: radians
    #[arg(long, default_value_t = 0.25, value_name = "RAD")]
    pub picture_turn: f32,
    /// How near it is: the logarithm of its size, of either side for itself
    #[arg(long, default_value_t = 0.2, value_name = "LOG")]
    pub picture_zoom: f32,
    /// How far it leans: the shift of its top over its height
    #[arg(long, default_value_t = 0.2, value_name = "PART")]
    pub picture_shear: f32,
    /// Where in the picture it is: a part of the picture's side
    #[arg(long, default_value_t = 0.1, value_name = "PART")]
    pub picture_shift: f32,
    /// How it is bent, in slow waves: a part of the picture's side
    #[arg(long, default_value_t = 0.02, value_name = "PART")]
    pub picture_bend: f32,
    /// Which of its sides is left: the probability of a mirror image
    #[arg(long, default_value_t = 0.5, value_name = "PROBABILITY")]
    pub picture_mirror: f32,
    /// How thick bright strokes are: the part of a pixel by which they grow or shrink
    #[arg(long, default_value_t = 0.0, value_name = "PIXELS")]
    pub picture_stroke: f32,
    /// How much light falls on it: the logarithm of the gain
    #[arg(long, default_value_t = 0.4, value_name = "LOG")]
    pub picture_light: f32,
    /// Noise: its standard deviation, as a part of white
    #[arg(long, default_value_t = 0.03, value_name = "PART")]
    pub picture_noise: f32,
    /// A rectangle is hidden: the probability
    #[arg(long, default_value_t = 0.0, value_name = "PROBABILITY")]
    pub picture_erase: f32,
}

impl PictureStrengths {
    /// By flag, with the largest value that makes sense.
    pub fn ranges(&self) -> [(&'static str, f32, f32); 10] {
        [
            ("--picture-turn", self.picture_turn, PI),
            ("--picture-zoom", self.picture_zoom, 2.0),
            ("--picture-shear", self.picture_shear, 2.0),
            ("--picture-shift", self.picture_shift, 1.0),
            ("--picture-bend", self.picture_bend, 0.5),
            ("--picture-mirror", self.picture_mirror, 1.0),
            ("--picture-stroke", self.picture_stroke, 1.0),
            ("--picture-light", self.picture_light, 3.0),
            ("--picture-noise", self.picture_noise, 1.0),
            ("--picture-erase", self.picture_erase, 1.0),
        ]
    }
}

/// Pictures as the device's front end makes them: a byte a value.
pub struct Pictures {
    /// [items, height, width, channels].
    bytes: Spool<u8>,
    settings: ImageSettings,
    strengths: PictureStrengths,
    labels: Vec<String>,
    classes: Vec<u32>,
    groups: Vec<u32>,
}

impl Pictures {
    /// Reads the picked items at `height` x `width`, of 1 or 3 `channels`. Mean and deviation of the
    /// data become the front end's.
    ///
    /// # Errors
    /// A picture that can't be read; no room.
    pub fn new(
        items: &Items,
        picked: &[usize],
        [channels, height, width]: [u16; 3],
        strengths: PictureStrengths,
        room: Room,
    ) -> anyhow::Result<Self> {
        let plain = ImageSettings {
            height,
            width,
            channels,
            order: Order::Rgb,
            fit: FitSetting::Stretch,
            crop: 1.0,
            mean: vec![0.0; channels.into()],
            std: vec![1.0; channels.into()],
        };
        let read = |&i: &usize| -> anyhow::Result<Vec<u8>> {
            let picture = items.get(i, None)?;
            ensure!(
                matches!(picture, Owned::Picture(_)),
                "sound in place of pictures"
            );
            let values = FrontEnd::Image(plain.clone()).inputs(picture.signal()?)?;
            Ok(values.into_iter().map(|v| v as u8).collect())
        };
        let mut bytes = Spool::new(room);
        for picked in picked.chunks(READ_TOGETHER) {
            let rows: Vec<Vec<u8>> = picked.par_iter().map(read).collect::<Result<_, _>>()?;
            bytes.push(rows.concat())?;
        }
        let (mean, std) = spread(&bytes, channels.into());
        let of = |all: &[u32]| picked.iter().filter_map(|&i| all.get(i).copied()).collect();
        Ok(Pictures {
            bytes,
            settings: ImageSettings { mean, std, ..plain },
            strengths,
            labels: items.labels.clone(),
            classes: of(&items.classes),
            groups: of(&items.groups),
        })
    }

    fn item(&self, i: usize) -> Cow<'_, [u8]> {
        let size = super::size(self);
        self.bytes.get(i * size..(i + 1) * size)
    }
}

/// Mean and standard deviation of each channel, for numbers that are 0 on average and 1 in size.
fn spread(bytes: &Spool<u8>, channels: usize) -> (Vec<f32>, Vec<f32>) {
    let of = |c: usize| {
        let values = || bytes.iter().skip(c).step_by(channels).map(f64::from);
        let count = (bytes.len() / channels).max(1) as f64;
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, (variance.sqrt() as f32).max(1.0))
    };
    (0..channels).map(of).unzip()
}

impl Pictures {
    /// The same with mean and deviation of another front end, where it is of this kind.
    pub fn scaled_as(mut self, frontend: &FrontEnd) -> Self {
        if let FrontEnd::Image(other) = frontend
            && other.mean.len() == self.settings.mean.len()
        {
            self.settings.mean = other.mean.clone();
            self.settings.std = other.std.clone();
        }
        self
    }
}

impl Source for Pictures {
    fn kind(&self) -> Kind {
        Kind::Pictures
    }

    fn shape(&self) -> [usize; 3] {
        let s = &self.settings;
        [s.channels.into(), s.height.into(), s.width.into()]
    }

    fn len(&self) -> usize {
        self.bytes.len() / super::size(self).max(1)
    }

    fn plain(&self, i: usize, out: &mut [f32]) {
        let [channels, height, width] = self.shape();
        for (at, &byte) in self.item(i).iter().enumerate() {
            let (place, c) = (at / channels, at % channels);
            out[c * height * width + place] =
                (f32::from(byte) - self.settings.mean[c]) / self.settings.std[c];
        }
    }

    fn view(
        &self,
        i: usize,
        _second: bool,
        _common: ChaCha8Rng,
        mut private: ChaCha8Rng,
        out: &mut [f32],
    ) {
        let [channels, height, width] = self.shape();
        let s = &self.strengths;
        let look = Look::draw(s, &mut private);
        let item = self.item(i);
        for (c, plane) in out.chunks_exact_mut(height * width).enumerate() {
            look.plane(&item, c, [channels, height, width], plane);
        }
        if s.picture_stroke > 0.0 {
            let by = s.picture_stroke * (2.0 * private.random::<f32>() - 1.0);
            for plane in out.chunks_exact_mut(height * width) {
                stroke(plane, width, by);
            }
        }
        let erased = private.random::<f32>() < s.picture_erase;
        let hole = hole(height, width, &mut private);
        for (c, plane) in out.chunks_exact_mut(height * width).enumerate() {
            let (mean, std) = (self.settings.mean[c], self.settings.std[c]);
            for (at, v) in plane.iter_mut().enumerate() {
                let hidden =
                    erased && hole.0.contains(&(at / width)) && hole.1.contains(&(at % width));
                let lit = (*v * look.gain).clamp(0.0, 255.0);
                let noise = if s.picture_noise > 0.0 {
                    255.0 * s.picture_noise * normal(&mut private)
                } else {
                    0.0
                };
                *v = if hidden {
                    0.0
                } else {
                    (lit + noise - mean) / std
                };
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
        Some(FrontEnd::Image(self.settings.clone()))
    }
}

/// One way of looking at a picture.
struct Look {
    /// From a place in the view to one in the picture, about the centre: row and column.
    map: [[f32; 2]; 2],
    /// Parts of the side.
    shift: [f32; 2],
    /// Height of the waves (a part of the side), their phase and how many fit into the side.
    waves: [[f32; 3]; 2],
    gain: f32,
}

impl Look {
    fn draw(s: &PictureStrengths, rng: &mut ChaCha8Rng) -> Look {
        let mut within = |strength: f32| strength * (2.0 * rng.random::<f32>() - 1.0);
        let (sin, cos) = within(s.picture_turn).sin_cos();
        let near = within(s.picture_zoom);
        let [tall, wide] = [(); 2].map(|()| (near + 0.5 * within(s.picture_zoom)).exp());
        let lean = within(s.picture_shear);
        let shift = [(); 2].map(|()| within(s.picture_shift));
        let waves = [(); 2].map(|()| [within(s.picture_bend), within(PI), 1.0 + 0.5 * within(1.0)]);
        let gain = within(s.picture_light).exp();
        let mirrored = rng.random::<f32>() < s.picture_mirror;
        let side = if mirrored { -1.0 } else { 1.0 };
        Look {
            map: [
                [tall * cos, -tall * sin * side],
                [wide * (sin + lean * cos), wide * (cos - lean * sin) * side],
            ],
            shift,
            waves,
            gain,
        }
    }

    /// One channel of the view, 0 to 255; outside of the picture the edge goes on.
    fn plane(
        &self,
        item: &[u8],
        channel: usize,
        [channels, height, width]: [usize; 3],
        out: &mut [f32],
    ) {
        let [high, wide] = [height, width].map(|side| side as f32);
        let [[a, b], [c, d]] = self.map;
        let wave = |[size, phase, count]: [f32; 3], at: f32| {
            if size == 0.0 {
                0.0
            } else {
                size * (TAU * count * at + phase).sin()
            }
        };
        let across: Vec<f32> = (0..width)
            .map(|x| wave(self.waves[0], x as f32 / wide))
            .collect();
        for y in 0..height {
            let v = (y as f32 + 0.5) / high - 0.5;
            let along = wave(self.waves[1], v);
            for x in 0..width {
                let u = (x as f32 + 0.5) / wide - 0.5;
                let row = (a * v + b * u + 0.5 + self.shift[0] + across[x]) * high - 0.5;
                let column = (c * v + d * u + 0.5 + self.shift[1] + along) * wide - 0.5;
                let row = row.clamp(0.0, high - 1.0);
                let column = column.clamp(0.0, wide - 1.0);
                let (top, left) = (row as usize, column as usize);
                let (down, right) = (row - top as f32, column - left as f32);
                let (below, beside) = ((top + 1).min(height - 1), (left + 1).min(width - 1));
                let pixel =
                    |y: usize, x: usize| f32::from(item[(y * width + x) * channels + channel]);
                let upper = pixel(top, left) * (1.0 - right) + pixel(top, beside) * right;
                let lower = pixel(below, left) * (1.0 - right) + pixel(below, beside) * right;
                out[y * width + x] = upper * (1.0 - down) + lower * down;
            }
        }
    }
}

/// Bright strokes become thicker (`by` above 0) or thinner: a mix with the largest or the smallest of
/// the neighbours.
fn stroke(plane: &mut [f32], width: usize, by: f32) {
    let old = plane.to_vec();
    let height = old.len() / width;
    let pick = |a: f32, b: f32| if by > 0.0 { a.max(b) } else { a.min(b) };
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            let mut extreme = old[at];
            if y > 0 {
                extreme = pick(extreme, old[at - width]);
            }
            if y + 1 < height {
                extreme = pick(extreme, old[at + width]);
            }
            if x > 0 {
                extreme = pick(extreme, old[at - 1]);
            }
            if x + 1 < width {
                extreme = pick(extreme, old[at + 1]);
            }
            plane[at] += by.abs() * (extreme - old[at]);
        }
    }
}

/// A rectangle of a quarter to a half of each side.
fn hole(
    height: usize,
    width: usize,
    rng: &mut ChaCha8Rng,
) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let mut side = |all: usize| {
        let long = (all as f32 * (0.25 + 0.25 * rng.random::<f32>())) as usize;
        let first = rng.random_range(0..=all - long);
        first..first + long
    };
    (side(height), side(width))
}
