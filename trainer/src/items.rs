//! Data of things to embed: pictures or clips of sound, a file each or many in one, labelled by the
//! folder they lie in or by a file beside them.

mod folder;
pub mod idx;
mod image;
mod readable;
mod text;
mod views;
pub mod wav;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use headstart::frontend::Signal;
use headstart::frontend::settings::Settings;

use crate::dataset::Pictures;
use crate::error::Failure;
pub use folder::Kind;
use image::Images;
pub use image::Picture;
pub use text::Lines;
pub use views::View;

/// What an encoder takes, and so what the data has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Pictures, seen at this height and width.
    Pictures {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Clips of sound.
    Sound {
        /// Samples a second.
        rate: u32,
        /// Samples of a clip.
        samples: usize,
    },
}

impl Wanted {
    /// What a front end takes; `None` where that is a sensor's recordings.
    pub fn of(frontend: &Settings) -> Option<Wanted> {
        match frontend {
            Settings::Sensor(_) => None,
            Settings::Image(image) => Some(Wanted::Pictures {
                height: image.height.into(),
                width: image.width.into(),
            }),
            Settings::LogMel(sound) => Some(Wanted::Sound {
                rate: sound.rate,
                samples: frontend.input_len(),
            }),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Wanted::Pictures { .. } => Kind::Image,
            Wanted::Sound { .. } => Kind::Wav,
        }
    }
}

/// White noise on clips: a function of the seed and the clip's number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Decibels below the mean power of each clip.
    pub snr: f32,
    /// Names it.
    pub seed: u64,
}

/// Things to embed, and what is known of each.
pub struct Items {
    /// Class names.
    pub labels: Vec<String>,
    /// Of each item, an index into `labels`; empty where the data has no labels.
    pub classes: Vec<u32>,
    /// Of each item: whom splits keep apart.
    pub groups: Vec<u32>,
    wanted: Wanted,
    source: Source,
}

enum Source {
    Images(Images),
    Clips(Vec<PathBuf>),
}

/// One thing, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    /// A clip of sound.
    Samples(Vec<i16>),
    /// A picture.
    Picture(Picture),
}

impl Owned {
    /// As an encoder takes it.
    ///
    /// # Errors
    /// A picture larger than any that is taken.
    pub fn signal(&self) -> anyhow::Result<Signal<'_>> {
        match self {
            Owned::Samples(samples) => Ok(Signal::Samples(samples)),
            Owned::Picture(picture) => Ok(Signal::Image(picture.view()?)),
        }
    }
}

impl Items {
    /// Opens a folder of class folders, an IDX file with its labels beside it, or an `.npz` file of
    /// pictures; the first `limit` things of it. Clips are grouped by the speaker in their file's
    /// name, pictures as their `.npz` file says, else not at all.
    ///
    /// # Errors
    /// Where the data is not what the encoder takes, or has no labels.
    pub fn open(data: &Path, wanted: Wanted, limit: usize) -> Result<Items, Failure> {
        exists(data)?;
        match wanted {
            Wanted::Pictures { .. } => {
                let (images, known) = Images::open(data, limit)?;
                Ok(known.with(wanted, Source::Images(images)))
            }
            Wanted::Sound { .. } => {
                let mut files = folder::list(data, Kind::Wav)?;
                let known = files.items(limit, folder::groups);
                Ok(known.with(wanted, Source::Clips(files.paths)))
            }
        }
    }

    /// Opens an IDX file or an `.npz` file of pictures without its labels, or a folder with the files in itself, else in class
    /// folders.
    pub fn unlabelled(data: &Path, wanted: Wanted, limit: usize) -> Result<Items, Failure> {
        exists(data)?;
        let source = match wanted {
            Wanted::Pictures { .. } => Source::Images(Images::unlabelled(data, limit)?),
            Wanted::Sound { .. } => Source::Clips(folder::any(data, wanted.kind(), limit)?),
        };
        let known = Known {
            labels: Vec::new(),
            classes: Vec::new(),
            groups: Vec::new(),
        };
        Ok(known.with(wanted, source))
    }

    /// Whether a folder has class folders, an IDX file labels beside it, or an `.npz` file an array
    /// y.
    pub fn has_labels(data: &Path, wanted: Wanted) -> bool {
        match data.is_dir() {
            true => !folder::has_files(data, wanted.kind()),
            false if image::is_npz(data) => Pictures::has_classes(data),
            false => idx::labels_beside(data).is_some_and(|labels| labels.is_file()),
        }
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Images(images) => images.len(),
            Source::Clips(paths) => paths.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads item number `i`; noise is for clips.
    pub fn get(&self, i: usize, noise: Option<Noise>) -> anyhow::Result<Owned> {
        match (&self.source, self.wanted) {
            (Source::Clips(paths), Wanted::Sound { rate, samples }) => {
                let path = paths.get(i).context("there is no such clip")?;
                let clip = wav::clip(path, rate, samples, noise, i as u64)?;
                Ok(Owned::Samples(clip))
            }
            (Source::Images(images), _) => Ok(Owned::Picture(images.get(i)?)),
            _ => Err(anyhow!("sound in place of pictures")),
        }
    }

    /// Item number `i` as augmented view `number` shows it: a picture moved, turned and lit, of the
    /// encoder's size; a clip in noise of its own.
    pub fn view(&self, i: usize, number: usize, seed: u64) -> anyhow::Result<Owned> {
        match (self.get(i, None)?, self.wanted) {
            (Owned::Picture(picture), Wanted::Pictures { height, width }) => {
                let view = View::new(seed, i, number);
                Ok(Owned::Picture(picture.seen(&view, height, width)))
            }
            (Owned::Samples(_), _) => {
                let seed = seed
                    .wrapping_mul(0x9e37_79b9)
                    .wrapping_add(number as u64 + 1);
                self.get(
                    i,
                    Some(Noise {
                        snr: VIEW_SNR,
                        seed,
                    }),
                )
            }
            (picture, _) => Ok(picture),
        }
    }
}

/// Which kind of files a folder has, in itself or in its folders.
///
/// # Errors
/// None that is known, or several.
pub fn kind_of(folder: &Path) -> anyhow::Result<crate::source::Kind> {
    use crate::source::Kind as Data;
    let has = |kind| folder::any(folder, kind, 1).is_ok_and(|found| !found.is_empty());
    let recordings = folder_has(folder, &["npz", "csv"]);
    let text = folder_has(folder, &["txt"]);
    let found = [
        (text, Data::Text),
        (has(Kind::Image), Data::Pictures),
        (has(Kind::Wav), Data::Sound),
        (recordings, Data::Sensor),
    ];
    let mut found = found.into_iter().filter(|f| f.0).map(|f| f.1);
    match (found.next(), found.next()) {
        (Some(kind), None) => Ok(kind),
        (Some(_), Some(_)) => Err(anyhow!(
            "{} has files of several kinds: say with --kind what to learn from",
            folder.display()
        )),
        _ => Err(anyhow!(
            "{} has no PNG, JPEG or WAV file in itself or in its folders, and no .npz, .csv or .txt file",
            folder.display()
        )),
    }
}

fn folder_has(folder: &Path, extensions: &[&str]) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let mut paths = entries.filter_map(Result::ok).map(|e| e.path());
    paths.any(|p| {
        extensions
            .iter()
            .any(|&e| p.extension().is_some_and(|own| own == e))
    })
}

/// Whether a file is an .npz whose `x` is bytes [items, height, width, ...].
pub fn is_picture_npz(path: &Path) -> bool {
    std::fs::File::open(path).is_ok_and(|file| Pictures::are_in(std::io::BufReader::new(file)))
}

/// The noise of a view of a clip, in decibels below its power.
const VIEW_SNR: f32 = 10.0;

fn exists(data: &Path) -> anyhow::Result<()> {
    let found = std::fs::metadata(data);
    found.with_context(|| format!("could not read the data {}", data.display()))?;
    Ok(())
}

/// What is known of things before any is read, in their order.
pub(super) struct Known {
    labels: Vec<String>,
    /// Indices into `labels`.
    classes: Vec<u32>,
    groups: Vec<u32>,
}

impl Known {
    fn with(self, wanted: Wanted, source: Source) -> Items {
        Items {
            labels: self.labels,
            classes: self.classes,
            groups: self.groups,
            wanted,
            source,
        }
    }
}
