//! Where spaces come from: an encoder's file, its untrained twin, or a feature without training.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use headstart::EncoderPack;
use headstart::pack::MAGIC;

use super::progress::Progress;
use super::random;
use super::space::{Features, Input, Source, Space, fixed, raw_rows};
use crate::dataset::Dataset;
use crate::encoder_file::{Background, EncoderFile};
use crate::features::{Feature, Standardisation};
use crate::files;
use crate::files::Aligned;
use crate::float::FloatEncoder;

/// How a zip archive, such as an .npz file, begins.
pub const ZIP: &[u8] = b"PK\x03\x04";

/// Values of a window beyond which a front end is a mistake.
const LARGEST_WINDOW: usize = 1 << 20;

const NO_SENSOR: &str = "it takes no windows of a sensor";
const NO_FRONT_END: &str = "its file says nothing of its input (--preset or --rate of `headstart import`), so recordings can't be fed to it";

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

/// Opens a .pack or an .onnx, whichever the bytes are.
pub fn open(path: &Path) -> anyhow::Result<Opened> {
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
        open_onnx(&bytes)
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
            "its front end takes {}: evaluate reads windows of a sensor",
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

fn open_onnx(bytes: &[u8]) -> anyhow::Result<Opened> {
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
    let (encoder, dim) = runnable(&file).context("its graph does not run")?;
    let zeros = vec![0.0; dim];
    let mean = file.background.as_ref().map_or(&zeros, |b| &b.mean);
    ensure!(
        dim == mean.len(),
        "embeddings have {dim} values, the background mean has {}",
        mean.len()
    );
    let source = Source::Float {
        encoder,
        frontend,
        channels_last: file.input.channels_last,
        step,
        centre: fixed(mean, step).collect(),
    };
    let space = Space {
        features: Features::Encoder,
        encoder: None,
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

/// The graph, and how many values it makes of a window of silence.
fn runnable(file: &EncoderFile) -> anyhow::Result<(FloatEncoder, usize)> {
    let length: usize = file.input.dims.iter().product();
    ensure!(length <= LARGEST_WINDOW, "a window has {length} values");
    let encoder = FloatEncoder::new(file)?;
    let rows = encoder.embed(&vec![0.0; length])?;
    Ok((encoder, rows.first().map_or(0, Vec::len)))
}

/// The encoder with random weights. Its centre and fixed-point step come from `background`, as
/// those of a pretrained one do.
pub fn random_twin(file: &EncoderFile, background: &Dataset, seed: u64) -> anyhow::Result<Space> {
    let mut twin = file.clone();
    twin.proto = random::reinitialise(&file.proto, seed)?;
    let encoder = FloatEncoder::new(&twin)?;
    let frontend = file.sensor().context(NO_SENSOR)?.clone();
    let channels_last = file.input.channels_last;
    let windows = background.windows(frontend.window, frontend.hop);
    let progress = Progress::new("random encoder, background windows", windows.len());
    let front = (&frontend, channels_last);
    let rows = raw_rows(&encoder, front, background, &windows, &progress)?;
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
        dim,
        artefact: file.sha256,
        background: None,
        source: Source::Float {
            encoder,
            frontend,
            channels_last,
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
