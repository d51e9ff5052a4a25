//! Where spaces come from: an encoder's file, its untrained twin, or a feature without training.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use headstart::onnx::{OnnxEncoder, OnnxError, Options, Ort, Runtime, Tract};
use headstart::pack::MAGIC;
use headstart::{Encoder, EncoderPack};
use prost::Message;

use super::progress::Progress;
use super::random;
use super::space::{Features, Float, Input, Source, Space, fixed};
use crate::dataset::Dataset;
use crate::encoder_file::{Background, EncoderFile};
use crate::features::{Feature, Standardisation};
use crate::files;
use crate::files::Aligned;

/// How a zip archive, such as an .npz file, begins.
pub const ZIP: &[u8] = b"PK\x03\x04";

/// Windows that a graph takes at once.
const BATCH: usize = 32;

/// What runs an .onnx.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// In Rust, always there.
    #[default]
    Tract,
    /// ONNX Runtime, faster; ORT_DYLIB_PATH names its library.
    Ort,
}

impl Engine {
    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Tract => "tract",
            Engine::Ort => "ort",
        }
    }
}

const NO_SENSOR: &str = "it takes no windows of a sensor";
const NO_FRONT_END: &str = "its file says nothing of its input, so that no data can be fed to it: import it with a --preset, for recordings with a --rate";

/// The fixed-point step of embeddings that nobody has measured: fine enough that it does not count.
pub(crate) const UNMEASURED_STEP: f32 = 1.0 / 4096.0;

/// An encoder's file, opened.
pub struct Opened {
    /// The encoder.
    pub space: Space,
    /// The windows that it takes.
    pub input: Input,
    /// The file's contents, where it is an ONNX file.
    pub file: Option<EncoderFile>,
}

/// Opens a .pack or an .onnx, whichever the bytes are; the latter in tract, on all processors.
pub fn open(path: &Path) -> anyhow::Result<Opened> {
    open_in(path, Engine::Tract, 0)
}

/// Opens a .pack or an .onnx, the latter in `engine` on `threads` threads, 0 for all processors.
pub fn open_in(path: &Path, engine: Engine, threads: usize) -> anyhow::Result<Opened> {
    ensure!(
        !path.is_dir(),
        "{} is a folder; give an encoder, .onnx or .pack",
        path.display()
    );
    let bytes = files::read(path)?;
    if bytes.starts_with(ZIP) {
        bail!(
            "{} is an .npz file, not an encoder; the encoder comes first: headstart evaluate ENCODER DATA",
            path.display()
        );
    }
    let packed = path.extension().is_some_and(|e| e == "pack") || bytes.starts_with(&MAGIC);
    let opened = if packed {
        open_pack(&bytes)
    } else {
        open_onnx(&bytes, engine, threads)
    };
    let mut opened =
        opened.with_context(|| format!("could not read the encoder {}", path.display()))?;
    opened.space.encoder = Some(path.display().to_string());
    Ok(opened)
}

fn open_pack(bytes: &[u8]) -> anyhow::Result<Opened> {
    let aligned = Aligned::new(bytes);
    let pack = EncoderPack::new(aligned.bytes())?;
    let Some(frontend) = pack.sensor() else {
        bail!(
            "its front end takes {}: give such as DATA",
            pack.frontend().takes()
        );
    };
    let input = Input {
        channels: frontend.channels,
        window: frontend.window,
        hop: frontend.hop,
        rate: frontend.rate_hz,
    };
    let (dim, artefact) = (pack.dim(), pack.artefact());
    let space = Space {
        features: Features::Encoder,
        encoder: None,
        runtime: Some("pack"),
        dim,
        artefact,
        background: pack.background().map(|b| Background::of(b, Vec::new())),
        source: Source::Pack(aligned.clone()),
    };
    Ok(Opened {
        space,
        input,
        file: None,
    })
}

fn open_onnx(bytes: &[u8], engine: Engine, threads: usize) -> anyhow::Result<Opened> {
    let file = EncoderFile::from_bytes(bytes)?;
    let frontend = file.sensor().context(NO_SENSOR)?.clone();
    ensure!(!file.numbers, "{NO_FRONT_END}");
    let step = match file.embedding_step {
        0.0 => UNMEASURED_STEP,
        step => step,
    };
    let input = Input {
        channels: frontend.channels,
        window: frontend.window,
        hop: frontend.hop,
        rate: frontend.rate,
    };
    let (run, dim) = float(bytes, engine, threads)?;
    let zeros = vec![0.0; dim];
    let mean = file.background.as_ref().map_or(&zeros, |b| &b.mean);
    let source = Source::Float {
        run,
        frontend,
        step,
        centre: fixed(mean, step).collect(),
    };
    let space = Space {
        features: Features::Encoder,
        encoder: None,
        runtime: Some(engine.name()),
        dim,
        artefact: file.sha256,
        background: file.background.clone(),
        source,
    };
    Ok(Opened {
        space,
        input,
        file: Some(file),
    })
}

/// An encoder's graph, whichever runs it, and D.
pub(crate) fn float(
    bytes: &[u8],
    engine: Engine,
    threads: usize,
) -> Result<(Float, usize), OnnxError> {
    fn run<R: Runtime + Send + 'static>(
        bytes: &[u8],
        options: Options,
    ) -> Result<(Float, usize), OnnxError> {
        let mut encoder = OnnxEncoder::<R>::from_bytes_with(bytes, options)?;
        let dim = encoder.dim();
        Ok((Float::new(move |windows| encoder.embed_batch(windows)), dim))
    }
    let options = Options {
        threads,
        batch: BATCH,
    };
    match engine {
        Engine::Tract => run::<Tract>(bytes, options),
        Engine::Ort => run::<Ort>(bytes, options),
    }
}

/// The encoder with random weights. Its centre and fixed-point step come from `background`, as
/// those of a pretrained one do.
pub fn random_twin(file: &EncoderFile, background: &Dataset, seed: u64) -> anyhow::Result<Space> {
    let twin = random::reinitialise(&file.proto, seed)?;
    let (run, _) = float(&twin.encode_to_vec(), Engine::Tract, 0)?;
    let frontend = file.sensor().context(NO_SENSOR)?.clone();
    let windows = background.windows(frontend.window, frontend.hop);
    let progress = Progress::new("random encoder, background windows", windows.len());
    let rows = run.rows(&frontend, background, &windows, &progress)?;
    let dim = rows.first().map_or(0, Vec::len);
    let mean: Vec<f32> = (0..dim)
        .map(|d| (rows.iter().map(|r| f64::from(r[d])).sum::<f64>() / rows.len() as f64) as f32)
        .collect();
    let largest = rows.iter().flatten().fold(0.0f32, |m, v| m.max(v.abs()));
    ensure!(
        largest > 0.0,
        "the random encoder gives zeros only; try another --seed"
    );
    let step = largest / 32_767.0;
    Ok(Space {
        features: Features::Random,
        encoder: None,
        runtime: None,
        dim,
        artefact: file.sha256,
        background: None,
        source: Source::Float {
            run,
            frontend,
            step,
            centre: fixed(&mean, step).collect(),
        },
    })
}

/// A rival without training: standardised over `background`, centre 0.
pub fn plain(feature: Feature, background: &Dataset, input: &Input) -> anyhow::Result<Space> {
    let windows = background.windows(input.window, input.hop);
    let standard = Standardisation::fit(&feature.extract(background, &windows, input.window))
        .context("the background has no window")?;
    let features = match feature {
        Feature::RawWindow => Features::Raw,
        Feature::HandMade => Features::HandMade,
    };
    Ok(Space {
        features,
        encoder: None,
        runtime: None,
        dim: standard.mean.len(),
        artefact: [0; 32],
        background: None,
        source: Source::Plain {
            feature,
            window: input.window,
            standard,
        },
    })
}
