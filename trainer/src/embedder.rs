//! An encoder, .onnx or .pack, over things of any kind: raw embeddings, and points of its integer
//! space.

use std::path::Path;

use anyhow::{Context, ensure};
use headstart::encoder::EmbedError;
use headstart::frontend::FrontEnd;
use headstart::pack::{Artefact, MAGIC};
use headstart::{Encoder, EncoderPack, PackedEncoder};
use rayon::prelude::*;

use crate::encoder_file::{Background, EncoderFile};
use crate::evaluate::open::UNMEASURED_STEP;
use crate::evaluate::progress::Progress;
use crate::evaluate::space::{fixed, normalise};
use crate::files::{self, Aligned};
use crate::float::FloatEncoder;
use crate::items::{Owned, Wanted};

/// Things that are embedded at once.
const CHUNK: usize = 32;

/// An encoder that things go through.
pub struct Embedder {
    /// D.
    pub dim: usize,
    /// Of the file.
    pub artefact: Artefact,
    /// What the heads start from.
    pub background: Option<Background>,
    kind: Kind,
}

enum Kind {
    Float {
        encoder: FloatEncoder,
        file: Box<EncoderFile>,
        step: f32,
        centre: Vec<i32>,
    },
    Pack(Aligned),
}

impl Embedder {
    /// Opens a file, whichever of the two it is.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn open(path: &Path) -> anyhow::Result<Embedder> {
        let bytes = files::read(path)?;
        let named = || format!("could not use the encoder {}", path.display());
        match bytes.starts_with(&MAGIC) {
            true => Self::of_pack(&bytes).with_context(named),
            false => EncoderFile::from_bytes(&bytes)
                .map_err(anyhow::Error::from)
                .and_then(|file| Self::of_file(&file))
                .with_context(named),
        }
    }

    /// The float encoder of a file.
    pub fn of_file(file: &EncoderFile) -> anyhow::Result<Embedder> {
        let encoder = FloatEncoder::new(file)?;
        let values: usize = file.input.dims.iter().product();
        let rows = encoder.embed(&vec![0.0; values])?;
        let dim = rows.first().map_or(0, Vec::len);
        let mean = file.background.as_ref().map(|b| b.mean.as_slice());
        let centre = mean.or(file.centre.as_deref());
        ensure!(
            centre.is_none_or(|c| c.len() == dim),
            "embeddings have {dim} values, the background mean has another number"
        );
        // Any step does where nothing is known: embeddings are scaled to one length.
        let step = match file.embedding_step {
            0.0 => UNMEASURED_STEP,
            step => step,
        };
        let zeros = vec![0.0; dim];
        let centre = fixed(centre.unwrap_or(&zeros), step).collect();
        Ok(Embedder {
            dim,
            artefact: file.sha256,
            background: file.background.clone(),
            kind: Kind::Float {
                encoder,
                file: Box::new(file.clone()),
                step,
                centre,
            },
        })
    }

    fn of_pack(bytes: &[u8]) -> anyhow::Result<Embedder> {
        let aligned = Aligned::new(bytes);
        let pack = EncoderPack::new(aligned.bytes())?;
        Ok(Embedder {
            dim: pack.dim(),
            artefact: pack.artefact(),
            background: pack.background().map(|b| Background::of(b, Vec::new())),
            kind: Kind::Pack(aligned.clone()),
        })
    }

    /// What it takes; `None` where that is recordings of a sensor.
    pub fn wanted(&self) -> Option<Wanted> {
        match &self.kind {
            Kind::Float { file, .. } => Wanted::of(&file.frontend),
            Kind::Pack(pack) => match EncoderPack::new(pack.bytes()).ok()?.frontend() {
                FrontEnd::Sensor(_) => None,
                FrontEnd::Image(image) => Some(Wanted::Pictures {
                    height: image.height(),
                    width: image.width(),
                }),
                FrontEnd::LogMel(sound) => Some(Wanted::Sound {
                    rate: sound.rate_hz(),
                    samples: sound.len(),
                }),
            },
        }
    }

    /// Raw float embeddings of `count` things, in their order whatever the number of threads; of a
    /// signal of several windows the mean.
    ///
    /// # Errors
    /// A thing that can't be read or used, an encoder that gives NaN, a pack.
    pub fn rows(
        &self,
        count: usize,
        progress: &Progress,
        thing: impl Fn(usize) -> anyhow::Result<Owned> + Sync,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let Kind::Float { encoder, file, .. } = &self.kind else {
            anyhow::bail!("a pack gives integers only: take its .onnx");
        };
        let chunk = |from: usize| -> anyhow::Result<Vec<Vec<f32>>> {
            let until = (from + CHUNK).min(count);
            let things: anyhow::Result<Vec<Owned>> = (from..until).map(&thing).collect();
            let rows = encoder.signals(file, &things?)?;
            let finite = rows.iter().flatten().all(|v| v.is_finite());
            ensure!(
                finite,
                "the encoder gives NaN or infinity: its weights are damaged"
            );
            progress.add(until - from);
            Ok(rows)
        };
        let starts: Vec<usize> = (0..count).step_by(CHUNK).collect();
        let chunks: anyhow::Result<Vec<_>> = starts.into_par_iter().map(chunk).collect();
        Ok(chunks?.concat())
    }

    /// The same as points of the integer space; `None` where a thing carries no signal.
    pub fn points(
        &self,
        count: usize,
        progress: &Progress,
        thing: impl Fn(usize) -> anyhow::Result<Owned> + Sync,
    ) -> anyhow::Result<Vec<Option<Vec<i8>>>> {
        match &self.kind {
            Kind::Float { step, centre, .. } => {
                let rows = self.rows(count, progress, thing)?;
                Ok(rows
                    .iter()
                    .map(|row| normalise(row, *step, centre))
                    .collect())
            }
            Kind::Pack(pack) => {
                let chunk = |from: usize| -> anyhow::Result<Vec<Option<Vec<i8>>>> {
                    let pack = EncoderPack::new(pack.bytes())?;
                    let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
                    let mut encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena)?;
                    let mut one = |i: usize| {
                        let owned = thing(i)?;
                        let mut values = vec![0; pack.dim()];
                        progress.add(1);
                        match encoder.embed(owned.signal()?, &mut values) {
                            Ok(_) => Ok(Some(values)),
                            Err(EmbedError::Zero(_)) => Ok(None),
                            Err(other) => Err(other.into()),
                        }
                    };
                    (from..(from + CHUNK).min(count)).map(&mut one).collect()
                };
                let starts: Vec<usize> = (0..count).step_by(CHUNK).collect();
                let chunks: anyhow::Result<Vec<_>> = starts.into_par_iter().map(chunk).collect();
                Ok(chunks?.concat())
            }
        }
    }

    /// Microseconds that one thing takes on one thread, reading it apart: the median over a few.
    pub fn microseconds(
        &self,
        thing: impl Fn(usize) -> anyhow::Result<Owned>,
        count: usize,
    ) -> anyhow::Result<f64> {
        const TIMED: usize = 9;
        let some = (0..TIMED.min(count)).map(|i| thing(i * count / TIMED.min(count)));
        let some: Vec<Owned> = some.collect::<anyhow::Result<_>>()?;
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        let quiet = Progress::silent();
        let mut times: Vec<f64> = Vec::new();
        for one in &some {
            let start = std::time::Instant::now();
            single.install(|| self.points(1, &quiet, |_| Ok(one.clone())))?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() / 2).copied().unwrap_or(0.0))
    }
}
