//! What the data is, and how it is opened.

use std::path::Path;

use anyhow::{Context, anyhow};
use sha2::{Digest, Sha256};

use super::Args;
use crate::dataset::Dataset;
use crate::error::Failure;
use crate::items::{Items, Lines, Wanted};
use crate::on_error::Skipped;
use crate::source::picture::Pictures;
use crate::source::same_label::SameLabel;
use crate::source::sensor::{Cut, Windows};
use crate::source::sound::Sounds;
use crate::source::text::Texts;
use crate::source::{Kind, Pairs, Source};
use crate::spool::{Room, Spool};
use headstart::frontend::settings::Settings as FrontEnd;

/// Data that is ready to train on.
pub struct Opened {
    /// The items.
    pub source: Box<dyn Source>,
    /// Of the file's bytes, or of everything that was read from a folder.
    pub sha256: [u8; 32],
}

/// Opens what a call names.
///
/// # Errors
/// No such data, none of a kind that is known, or unusable data.
pub fn open(args: &Args) -> Result<Opened, Failure> {
    let kind = match args.kind {
        Some(kind) => kind,
        None => detect(&args.data)?,
    };
    let opened = match kind {
        Kind::Sensor => sensor(args),
        Kind::Pictures => pictures(args),
        Kind::Sound => sound(args),
        Kind::Text => text(args),
    }?;
    match args.settings.pairs {
        Some(Pairs::Label) => Ok(Opened {
            source: Box::new(SameLabel::new(opened.source)?),
            sha256: opened.sha256,
        }),
        _ => Ok(opened),
    }
}

/// What the data may take of the memory, and where the rest of it goes.
fn room(args: &Args) -> Room {
    let folder = args.output.parent().unwrap_or(Path::new(""));
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    Room {
        bytes: (args.memory as usize).saturating_mul(1 << 20),
        folder: folder.into(),
    }
}

/// Says what was left out, if anything was.
fn tell(skipped: &Skipped) {
    if skipped.count() > 0 {
        eprintln!("{skipped}");
    }
}

/// What data is, by its name and its first look.
fn detect(data: &Path) -> anyhow::Result<Kind> {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let found = std::fs::metadata(data);
    found.with_context(|| format!("could not read the data {}", data.display()))?;
    if data.is_dir() {
        return crate::items::kind_of(data);
    }
    if name.contains("images-idx3") || crate::items::is_picture_npz(data) {
        return Ok(Kind::Pictures);
    }
    if data.extension().is_some_and(|e| e == "txt") {
        return Ok(Kind::Text);
    }
    Ok(Kind::Sensor)
}

fn sensor(args: &Args) -> Result<Opened, Failure> {
    let settings = &args.settings;
    let mut samples = Spool::new(room(args));
    let loaded = Dataset::load_apart(&args.data, args.on_error, |rows| samples.push(rows));
    let (mut data, skipped) = loaded.map_err(anyhow::Error::from)?;
    tell(&skipped);
    if let Some(groups) = &settings.groups {
        data.recordings.retain(|r| groups.contains(r.group));
        if data.recordings.is_empty() {
            let groups = String::from(groups.clone());
            return Err(anyhow!("no recording is of --groups {groups}").into());
        }
    }
    let rate = args.rate.or(data.rate_hz).ok_or_else(|| {
        Failure::Usage("the data does not say how many samples it has a second: give --rate".into())
    })?;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(Failure::Usage(format!(
            "--rate is {rate}: give samples a second, for example 50"
        )));
    }
    if data.recordings.len() == 1 {
        eprintln!(
            "warning: there is one recording only; what is the same all through it can't be learned"
        );
    }
    let sha256 = data.sha256;
    let cut = Cut {
        window: settings.window as usize,
        hop: settings.hop as usize,
        rate,
        positive_hop: settings.positive_hop as usize,
        augment: settings.augment.clone(),
    };
    Ok(Opened {
        source: Box::new(Windows::apart(data, samples, cut)),
        sha256,
    })
}

fn things(args: &Args, wanted: Wanted) -> Result<(Items, Vec<usize>), Failure> {
    let limit = args.limit.map_or(usize::MAX, |n| n as usize);
    // Labels colour the report's map; training asks for them with --pairs label alone.
    let items = match Items::has_labels(&args.data, wanted) {
        true => Items::open(&args.data, wanted, limit)?,
        false => Items::unlabelled(&args.data, wanted, limit)?,
    };
    let (picked, skipped) = items.readable(args.on_error)?;
    tell(&skipped);
    if let Some(groups) = &args.settings.groups {
        let picked: Vec<usize> = picked
            .into_iter()
            .filter(|&i| groups.contains(items.groups.get(i).copied().unwrap_or(0)))
            .collect();
        if picked.is_empty() {
            let groups = String::from(groups.clone());
            return Err(anyhow!("no item is of --groups {groups}").into());
        }
        return Ok((items, picked));
    }
    Ok((items, picked))
}

fn pictures(args: &Args) -> Result<Opened, Failure> {
    let side = args.settings.size;
    let wanted = Wanted::Pictures {
        height: side.into(),
        width: side.into(),
    };
    let (items, picked) = things(args, wanted)?;
    let shape = [args.settings.colours, side, side];
    let source = Pictures::new(
        &items,
        &picked,
        shape,
        args.settings.picture.clone(),
        room(args),
    )?;
    Ok(opened(source))
}

fn sound(args: &Args) -> Result<Opened, Failure> {
    let settings = &args.settings.sound;
    let frontend = FrontEnd::LogMel(settings.frontend());
    let checked = frontend.check();
    checked.map_err(|why| anyhow!("these --sound settings can't be heard: {why}"))?;
    let wanted = Wanted::Sound {
        rate: settings.sound_rate,
        samples: frontend.input_len(),
    };
    let (items, picked) = things(args, wanted)?;
    let seed = args.settings.seed;
    let source = Sounds::new(&items, &picked, settings.clone(), seed, room(args))?;
    Ok(opened(source))
}

fn text(args: &Args) -> Result<Opened, Failure> {
    let limit = args.limit.map_or(usize::MAX, |n| n as usize);
    let (read, skipped) = Lines::read(&args.data, limit, args.on_error)?;
    tell(&skipped);
    let (length, vocabulary) = (args.settings.length, args.settings.vocabulary);
    let source = Texts::new(
        read.lines,
        read.file_of,
        length as usize,
        vocabulary as usize,
    )?;
    Ok(opened(source))
}

/// Data of many files is named by what was read from them.
fn opened(source: impl Source + 'static) -> Opened {
    let mut hash = Sha256::new();
    let mut item = vec![0.0f32; crate::source::size(&source)];
    for i in 0..source.len() {
        source.plain(i, &mut item);
        hash.update(bytemuck::cast_slice(&item));
    }
    Opened {
        sha256: hash.finalize().into(),
        source: Box::new(source),
    }
}
