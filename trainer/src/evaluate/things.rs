//! Encoders of pictures and sound on files: each thing is embedded once by every encoder, and then
//! stands in the data by its number.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{anyhow, ensure};
use headstart::EncoderPack;
use headstart::pack::MAGIC;
use prost::Message;

use super::args::Args;
use super::open::Engine;
use super::progress::Progress;
use super::random;
use super::select::{distinct_groups, select};
use super::space::{Features, Input, Source, Space, fixed, normalise};
use super::strangers;
use super::task::Task;
use crate::dataset::{Dataset, Recording};
use crate::embedder::Embedder;
use crate::encoder_file::EncoderFile;
use crate::episode::Protocol;
use crate::error::Failure;
use crate::features::Standardisation;
use crate::files::{self, Aligned};
use crate::items::{Items, Noise, Owned, Wanted};

/// The fixed-point step of standardised features.
const FINE_STEP: f32 = 1.0 / 65_536.0;

/// Whether an encoder takes pictures or sound, and no windows of a sensor; `None` where its file
/// can't be used, which is said by who opens it.
pub fn taken_by(encoder: &Path) -> Option<bool> {
    let bytes = std::fs::read(encoder).ok()?;
    if bytes.starts_with(&MAGIC) {
        let aligned = Aligned::new(&bytes);
        return Some(EncoderPack::new(aligned.bytes()).ok()?.sensor().is_none());
    }
    let file = EncoderFile::from_bytes(&bytes).ok()?;
    Some(Wanted::of(&file.frontend).is_some())
}

/// Opens data of files for encoders that take such.
pub fn task(
    args: &Args,
    data: &Path,
    encoders: Vec<(String, Embedder)>,
    wanted: Wanted,
    notes: &mut Vec<String>,
) -> Result<Task, Failure> {
    let noise = args.snr.map(|snr| Noise {
        snr,
        seed: args.seed,
    });
    if noise.is_some() && matches!(wanted, Wanted::Pictures { .. }) {
        return Err(Failure::Usage(
            "--snr is for sound: pictures get no noise".into(),
        ));
    }
    let limit = args.limit.map_or(usize::MAX, |n| n as usize);
    let taught = Items::open(data, wanted, limit)?;
    let unknown = match &args.unknown {
        Some(path) => Some(Items::open(path, wanted, usize::MAX)?),
        None => None,
    };
    let count = taught.len() + unknown.as_ref().map_or(0, Items::len);
    let thing = |i: usize| match (&unknown, i.checked_sub(taught.len())) {
        (Some(unknown), Some(i)) => unknown.get(i, noise),
        _ => taught.get(i, noise),
    };
    let mut spaces = Vec::new();
    for (name, encoder) in encoders {
        let progress = Progress::new(format!("embedding with {name}"), count);
        let start = Instant::now();
        let (values, raw) = encoder.points(count, &progress, thing)?;
        let us_each = start.elapsed().as_secs_f64() * 1e6 / count.max(1) as f64;
        if encoder.background.is_none() {
            notes.push(no_background(&name));
        }
        spaces.push(Space {
            features: Features::Encoder,
            encoder: Some(name),
            runtime: Some(encoder.runtime),
            dim: encoder.dim,
            artefact: encoder.artefact,
            background: encoder.background.clone(),
            source: Source::Items {
                values,
                us_each,
                raw,
            },
        });
    }
    if !args.no_rivals {
        spaces.extend(random_twin(args, count, thing, notes)?);
        spaces.push(rival(wanted, count, thing)?);
        notes.push(
            "hand-made features are standardised on the evaluation data itself (all of it, without labels), which favours them"
                .to_owned(),
        );
    }
    let all = numbered(&taught, 0);
    let chosen = select(
        &all,
        args.classes.as_deref(),
        args.groups.as_ref(),
        args.ways,
    )?;
    let (world, strangers) = match (&args.unknown, &unknown) {
        (Some(path), Some(unknown)) => {
            strangers::join(&chosen, &numbered(unknown, taught.len()), path, notes)?
        }
        _ => (chosen.clone(), BTreeSet::new()),
    };
    let headline = format!(
        "{}: {} groups, {} {}; seed {}",
        data.display(),
        distinct_groups(&chosen).len(),
        chosen.rows(),
        match wanted {
            Wanted::Pictures { .. } => "pictures",
            Wanted::Sound { .. } => "clips",
        },
        args.seed
    );
    Ok(Task {
        input: Input {
            channels: 1,
            window: 1,
            hop: 1,
            rate: 1.0,
        },
        data: chosen,
        world,
        strangers,
        spaces,
        // Files have speakers, or nobody.
        protocols: &[Protocol::NextGroup],
        dataset: data.display().to_string(),
        headline,
    })
}

/// The first encoder with random weights, where its weights are known; centred on the data itself,
/// without labels.
fn random_twin(
    args: &Args,
    count: usize,
    thing: impl Fn(usize) -> anyhow::Result<Owned> + Sync,
    notes: &mut Vec<String>,
) -> anyhow::Result<Option<Space>> {
    let bytes = files::read(&args.encoder)?;
    if bytes.starts_with(&headstart::pack::MAGIC) {
        notes.push(
            "no random-initialised encoder: its shape is known from an .onnx only".to_owned(),
        );
        return Ok(None);
    }
    let file = EncoderFile::from_bytes(&bytes)?;
    // Quantised and shared weights can't be drawn anew.
    let Ok(twin) = random::reinitialise(&file.proto, args.seed) else {
        notes.push("no random-initialised encoder: not all weights are plain numbers".to_owned());
        return Ok(None);
    };
    let embedder = Embedder::of_bytes(&twin.encode_to_vec(), Engine::Tract, args.threads)?;
    let progress = Progress::new("embedding with random weights".to_owned(), count);
    let raw = embedder.rows(count, &progress, thing)?;
    let dim = embedder.dim;
    let mean: Vec<f32> = (0..dim)
        .map(|d| (raw.iter().map(|r| f64::from(r[d])).sum::<f64>() / count.max(1) as f64) as f32)
        .collect();
    let largest = raw.iter().flatten().fold(1e-12f32, |m, v| m.max(v.abs()));
    let step = largest / 32_767.0;
    let centre: Vec<i32> = fixed(&mean, step).collect();
    Ok(Some(Space {
        features: Features::Random,
        encoder: Some(args.encoder.display().to_string()),
        runtime: None,
        dim,
        artefact: [0; 32],
        background: None,
        source: Source::Items {
            values: raw
                .iter()
                .map(|row| normalise(row, step, &centre))
                .collect(),
            us_each: 0.0,
            raw: Vec::new(),
        },
    }))
}

/// Checks that all encoders can answer the same episodes; what they take.
pub fn wanted(encoders: &[(String, Embedder)]) -> anyhow::Result<Option<Wanted>> {
    let mut all = encoders.iter().map(|(name, e)| (name, e.wanted()));
    let Some((first, wanted)) = all.next() else {
        return Ok(None);
    };
    let kind = |w: Option<Wanted>| w.map(|w| matches!(w, Wanted::Sound { .. }));
    for (name, other) in all {
        ensure!(
            kind(other) == kind(wanted),
            "{first} and {name} take different things: they can't answer the same episodes; evaluate them one by one"
        );
    }
    Ok(wanted)
}

/// What it means that an encoder has not been shown the world.
pub fn no_background(name: &str) -> String {
    format!(
        "{name} has no background statistics, so that its heads start from nothing: headstart background ENCODER DATA"
    )
}

/// A row a thing, whose only value is its number.
fn numbered(items: &Items, first: usize) -> Dataset {
    let row = |i: usize| Recording {
        rows: i..i + 1,
        class: items.classes.get(i).map(|&c| c as usize),
        group: items.groups.get(i).copied().unwrap_or(0),
        id: i as u32,
        side: None,
    };
    Dataset {
        channels: 1,
        // Whole numbers up to 2^24 are exact.
        x: (0..items.len()).map(|i| (first + i) as f32).collect(),
        scale: None,
        rate_hz: None,
        recordings: (0..items.len()).map(row).collect(),
        labels: items.labels.clone(),
        sha256: [0; 32],
    }
}

/// What needs no encoder: of pictures 16 x 16 pixels, of sound the mean and the deviation of each
/// log-mel band of `LogMelSettings::speech_embedding`.
fn rival(
    wanted: Wanted,
    count: usize,
    thing: impl Fn(usize) -> anyhow::Result<Owned>,
) -> anyhow::Result<Space> {
    let vector = |i: usize| match (thing(i)?, wanted) {
        (Owned::Picture(picture), _) => Ok(picture.small(16)),
        (Owned::Samples(samples), Wanted::Sound { rate, .. }) => bands(&samples, rate),
        _ => Err(anyhow!("sound in place of pictures")),
    };
    let mut vectors: Vec<Vec<f32>> = (0..count).map(vector).collect::<Result<_, _>>()?;
    let standard = Standardisation::fit(&vectors)
        .ok_or_else(|| anyhow!("pictures are grey and coloured: use one kind"))?;
    standard.apply(&mut vectors);
    let dim = standard.mean.len();
    let centre = vec![0; dim];
    let points = vectors.iter().map(|v| normalise(v, FINE_STEP, &centre));
    Ok(Space {
        features: match wanted {
            Wanted::Pictures { .. } => Features::Raw,
            Wanted::Sound { .. } => Features::HandMade,
        },
        encoder: None,
        runtime: None,
        dim,
        artefact: [0; 32],
        background: None,
        source: Source::Items {
            values: points.collect(),
            us_each: 0.0,
            raw: Vec::new(),
        },
    })
}

/// Mean and standard deviation of each log-mel band over a clip.
fn bands(samples: &[i16], rate: u32) -> anyhow::Result<Vec<f32>> {
    use headstart::frontend::settings::{LogMelSettings, Settings};
    let mut one = LogMelSettings::speech_embedding();
    one.rate = rate;
    let span = usize::from(one.fft).max(samples.len());
    one.frames = ((span - usize::from(one.fft)) / usize::from(one.hop) + 1) as u16;
    (one.windows, one.step) = (1, one.frames);
    let bands = usize::from(one.bands);
    let settings = Settings::LogMel(one);
    let mut padded = samples.to_vec();
    padded.resize(settings.input_len(), 0);
    let frames = settings.inputs((&padded[..]).into())?;
    let count = (frames.len() / bands) as f32;
    let column = |b: usize| frames.iter().skip(b).step_by(bands);
    let mean: Vec<f32> = (0..bands).map(|b| column(b).sum::<f32>() / count).collect();
    let deviation = |b: usize| {
        let squares: f32 = column(b).map(|v| (v - mean[b]).powi(2)).sum();
        (squares / count).sqrt()
    };
    let deviations: Vec<f32> = (0..bands).map(deviation).collect();
    Ok([mean, deviations].concat())
}
