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
use crate::evaluate::open::{Engine, UNMEASURED_STEP, float};
use crate::evaluate::progress::Progress;
use crate::evaluate::space::{Float, fixed, normalise};
use crate::files::{self, Aligned};
use crate::float::mean;
use crate::items::{Owned, Wanted};

/// Things that are embedded at once.
const CHUNK: usize = 32;

/// An encoder that things go through.
pub struct Embedder {
    /// D.
    pub dim: usize,
    /// Of the file.
    pub artefact: Artefact,
    /// `tract`, `ort` or `pack`.
    pub runtime: &'static str,
    /// What the heads start from.
    pub background: Option<Background>,
    kind: Kind,
}

enum Kind {
    Float {
        run: Float,
        file: Box<EncoderFile>,
        step: f32,
        centre: Vec<i32>,
    },
    Pack(Aligned),
}

impl Embedder {
    /// Opens a file, whichever of the two it is; an .onnx in tract, on all processors.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn open(path: &Path) -> anyhow::Result<Embedder> {
        Self::open_in(path, Engine::Tract, 0)
    }

    /// The same with an .onnx in `engine`, on `threads` threads, 0 for all processors.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn open_in(path: &Path, engine: Engine, threads: usize) -> anyhow::Result<Embedder> {
        let bytes = files::read(path)?;
        let named = || format!("could not use the encoder {}", path.display());
        match bytes.starts_with(&MAGIC) {
            true => Self::of_pack(&bytes).with_context(named),
            false => EncoderFile::from_bytes(&bytes)
                .map_err(anyhow::Error::from)
                .and_then(|file| Self::of_file(file, &bytes, engine, threads))
                .with_context(named),
        }
    }

    /// An .onnx from its bytes.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn of_bytes(bytes: &[u8], engine: Engine, threads: usize) -> anyhow::Result<Embedder> {
        Self::of_file(EncoderFile::from_bytes(bytes)?, bytes, engine, threads)
    }

    /// The float encoder of a file, from its bytes.
    fn of_file(
        file: EncoderFile,
        bytes: &[u8],
        engine: Engine,
        threads: usize,
    ) -> anyhow::Result<Embedder> {
        ensure!(
            !file.numbers,
            "its file says nothing of its input, so that files can't be fed to it: import it with a --preset"
        );
        let (run, dim) = float(bytes, engine, threads)?;
        // Any step does where nothing is known: embeddings are scaled to one length.
        let step = match file.embedding_step {
            0.0 => UNMEASURED_STEP,
            step => step,
        };
        let zeros = vec![0.0; dim];
        let mean = file.background.as_ref().map_or(&zeros, |b| &b.mean);
        Ok(Embedder {
            dim,
            artefact: file.sha256,
            runtime: engine.name(),
            background: file.background.clone(),
            kind: Kind::Float {
                run,
                step,
                centre: fixed(mean, step).collect(),
                file: Box::new(file),
            },
        })
    }

    fn of_pack(bytes: &[u8]) -> anyhow::Result<Embedder> {
        let aligned = Aligned::new(bytes);
        let pack = EncoderPack::new(aligned.bytes())?;
        Ok(Embedder {
            dim: pack.dim(),
            artefact: pack.artefact(),
            runtime: "pack",
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
        let Kind::Float { run, file, .. } = &self.kind else {
            anyhow::bail!("a pack gives integers only: take its .onnx");
        };
        let front = &file.frontend;
        let input =
            |i: usize| -> anyhow::Result<Vec<f32>> { Ok(front.inputs(thing(i)?.signal()?)?) };
        let mut rows = Vec::with_capacity(count);
        for from in (0..count).step_by(CHUNK) {
            let some = from..(from + CHUNK).min(count);
            let pieces = some.len();
            let inputs: anyhow::Result<Vec<_>> = some.into_par_iter().map(input).collect();
            let raw = run.run(&inputs?.concat())?;
            let finite = raw.iter().flatten().all(|v| v.is_finite());
            ensure!(
                finite,
                "the encoder gives NaN or infinity: its weights are damaged"
            );
            rows.extend(raw.chunks(front.windows()).map(mean));
            progress.add(pieces);
        }
        Ok(rows)
    }

    /// The same as points of the integer space, `None` where a thing carries no signal; and of a
    /// float runtime the raw embeddings.
    ///
    /// # Errors
    /// As [`Embedder::rows`].
    pub fn points(
        &self,
        count: usize,
        progress: &Progress,
        thing: impl Fn(usize) -> anyhow::Result<Owned> + Sync,
    ) -> anyhow::Result<Points> {
        match &self.kind {
            Kind::Float { step, centre, .. } => {
                let raw = self.rows(count, progress, thing)?;
                let point = |row: &Vec<f32>| normalise(row, *step, centre);
                Ok((raw.iter().map(point).collect(), raw))
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
                Ok((chunks?.concat(), Vec::new()))
            }
        }
    }
}

/// Points of the integer space, and raw embeddings where there are any.
pub type Points = (Vec<Option<Vec<i8>>>, Vec<Vec<f32>>);
