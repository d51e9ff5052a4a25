//! Pictures from files.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};

use headstart::frontend::Image;
use image::{DynamicImage, ImageDecoder};

use super::Known;
use super::folder::{self, Kind};
use super::idx::{self, Idx};
use super::views::View;
use crate::dataset::{Pictures, has_extension};
use crate::error::Failure;

/// The largest side of an image in a file.
const LARGEST_FILE: u32 = 16_384;

/// The most pixels of one: 8192 x 8192, 192 MiB in colour.
const MOST_PIXELS: u64 = 1 << 26;

/// A data set of images.
pub enum Images {
    /// All in memory, grey.
    Idx(Idx),
    /// All in memory, of an .npz file.
    Npz(Pictures),
    /// One a file.
    Files(Vec<PathBuf>),
}

/// Rows of pixels, channels innermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    height: usize,
    width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    channels: usize,
    pixels: Vec<u8>,
}

impl Images {
    /// Opens an .npz or IDX file or a folder of class folders; the first `limit` images of it.
    pub fn open(data: &Path, limit: usize) -> Result<(Images, Known), Failure> {
        if data.is_dir() {
            let mut files = folder::list(data, Kind::Image)?;
            let known = files.items(limit, |paths| (0..paths.len() as u32).collect());
            return Ok((Images::Files(files.paths), known));
        }
        if is_npz(data) {
            return labelled(data, limit);
        }
        let images = idx_images(data, limit)?;
        let beside = idx::labels_beside(data).context("it has no labels beside it")?;
        let labels = idx::load(&beside, 1, limit).context("could not read the labels")?;
        if images.total != labels.total {
            return Err(anyhow!(
                "{} has {} images, {} has {} labels: they do not belong together",
                data.display(),
                images.total,
                beside.display(),
                labels.total
            )
            .into());
        }
        let classes: Vec<u32> = labels.values.iter().map(|&v| v.into()).collect();
        let most = classes.iter().copied().max().unwrap_or(0);
        let known = Known {
            labels: (0..=most).map(|class| class.to_string()).collect(),
            groups: (0..classes.len() as u32).collect(),
            classes,
        };
        Ok((Images::Idx(images), known))
    }

    /// Opens an .npz or IDX file, without its labels, or a folder that has images, else its class
    /// folders; the first `limit` images of it.
    pub fn unlabelled(data: &Path, limit: usize) -> Result<Images, Failure> {
        if !data.is_dir() && is_npz(data) {
            let pictures = Pictures::load(data).map_err(anyhow::Error::from)?;
            return Ok(Images::Npz(first(pictures, limit)));
        }
        if !data.is_dir() {
            return Ok(Images::Idx(idx_images(data, limit)?));
        }
        let paths = folder::any(data, Kind::Image, limit)?;
        Ok(Images::Files(paths))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Images::Idx(idx) => idx.values.len() / idx.shape.iter().product::<usize>().max(1),
            Images::Npz(pictures) => pictures.len(),
            Images::Files(paths) => paths.len(),
        }
    }

    /// Image number `i`.
    pub fn get(&self, i: usize) -> anyhow::Result<Picture> {
        match self {
            Images::Idx(idx) => {
                let &[height, width] = &idx.shape[..] else {
                    bail!("images have {} dimensions", idx.shape.len());
                };
                let pixels = idx.values.chunks(height * width).nth(i);
                Ok(Picture {
                    height,
                    width,
                    channels: 1,
                    pixels: pixels.context("no such image")?.to_vec(),
                })
            }
            Images::Npz(pictures) => {
                let &Pictures {
                    height,
                    width,
                    channels,
                    ..
                } = pictures;
                let pixels = pictures.pixels.chunks(height * width * channels).nth(i);
                let pixels = pixels.context("no such image")?.to_vec();
                Ok(Picture::new(height, width, channels, pixels))
            }
            Images::Files(paths) => {
                let path = paths.get(i).context("no such image")?;
                let read = || Picture::decode(BufReader::new(File::open(path)?));
                read().with_context(|| path.display().to_string())
            }
        }
    }
}

/// Whether data is an .npz file, by its name.
pub fn is_npz(data: &Path) -> bool {
    has_extension(data, "npz")
}

/// The first `limit` pictures that have a label.
fn labelled(data: &Path, limit: usize) -> Result<(Images, Known), Failure> {
    let mut pictures = Pictures::load(data).map_err(anyhow::Error::from)?;
    let classes = pictures.classes.take().with_context(|| {
        let data = data.display();
        format!(
            "{data} has no array y, a class index for each picture: numpy.savez(file, x=..., y=...)"
        )
    })?;
    let size = pictures.height * pictures.width * pictures.channels;
    let (mut pixels, mut known) = (
        Vec::new(),
        Known {
            labels: std::mem::take(&mut pictures.labels),
            classes: Vec::new(),
            groups: Vec::new(),
        },
    );
    let labelled = classes
        .iter()
        .enumerate()
        .filter_map(|(i, class)| Some((i, (*class)?)));
    for (i, class) in labelled.take(limit) {
        pixels.extend_from_slice(&pictures.pixels[i * size..(i + 1) * size]);
        known.classes.push(class);
        // Each picture by itself where the file says nothing else.
        let group = pictures
            .groups
            .as_ref()
            .map_or(i as u32, |groups| groups[i]);
        known.groups.push(group);
    }
    if known.classes.is_empty() {
        let data = data.display();
        return Err(anyhow!("{data} has no picture with a label: y is -1 throughout").into());
    }
    pictures.pixels = pixels;
    Ok((Images::Npz(pictures), known))
}

fn first(mut pictures: Pictures, limit: usize) -> Pictures {
    let size = pictures.height * pictures.width * pictures.channels;
    pictures.pixels.truncate(size.saturating_mul(limit));
    pictures
}

/// The first `limit` images of an IDX file whose name says that it has images.
fn idx_images(data: &Path, limit: usize) -> Result<Idx, Failure> {
    if idx::labels_beside(data).is_none() {
        return Err(Failure::Usage(format!(
            "{} is neither a folder nor an .npz or IDX file: this encoder takes a folder of class folders of PNG or JPEG files, an .npz file of pictures, or a file called ...-{}-ubyte, gzipped or not, with ...-{}-ubyte beside it",
            data.display(),
            idx::IMAGES,
            idx::LABELS
        )));
    }
    Ok(idx::load(data, 3, limit)?)
}

impl Picture {
    /// Decodes the bytes of a PNG or JPEG file, in colour.
    ///
    /// # Errors
    /// Neither, or damaged, or larger than 16,384 pixels a side or 2^26 in all.
    pub fn decode(bytes: impl BufRead + Seek) -> anyhow::Result<Picture> {
        let mut reader = image::ImageReader::new(bytes).with_guessed_format()?;
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(LARGEST_FILE);
        limits.max_image_height = Some(LARGEST_FILE);
        reader.limits(limits);
        let decoder = reader.into_decoder()?;
        // A few bytes can claim a large picture, and be read as a grey one.
        let (width, height) = decoder.dimensions();
        ensure!(
            u64::from(width) * u64::from(height) <= MOST_PIXELS,
            "it has {width} x {height} pixels, more than {MOST_PIXELS}: make it smaller first"
        );
        let image = DynamicImage::from_decoder(decoder)?.into_rgb8();
        ensure!(!image.is_empty(), "it has no pixels");
        Ok(Picture {
            height: image.height() as usize,
            width: image.width() as usize,
            channels: 3,
            pixels: image.into_raw(),
        })
    }

    /// `pixels` is `[height][width][channels]`.
    pub fn new(height: usize, width: usize, channels: usize, pixels: Vec<u8>) -> Picture {
        Picture {
            height,
            width,
            channels,
            pixels,
        }
    }

    /// As the device takes it.
    pub fn view(&self) -> anyhow::Result<Image<'_>> {
        Image::new(self.height, self.width, self.channels, &self.pixels)
            .context("a picture larger than any that is taken")
    }

    /// All channels at `side` x `side`, as numbers.
    pub fn small(&self, side: usize) -> Vec<f32> {
        let plane = |c| self.resized(c, side, side).map(|v| v as f32);
        (0..self.channels).flat_map(plane).collect()
    }

    /// The picture at another size as `view` shows it. A view is taken at that size: at the
    /// picture's own a small one would lose detail to a second interpolation, which pictures as
    /// they are do not.
    pub fn seen(&self, view: &View, height: usize, width: usize) -> Picture {
        let stretch = (self.height * width) as f64 / (self.width * height) as f64;
        let mut pixels = vec![0; height * width * self.channels];
        for channel in 0..self.channels {
            let plane: Vec<f64> = self.resized(channel, height, width).collect();
            let plane = view.of(&plane, width, stretch);
            for (place, value) in plane.into_iter().enumerate() {
                // Rounded to a byte, as a picture of that size would be.
                pixels[place * self.channels + channel] = value.round_ties_even() as u8;
            }
        }
        Picture {
            height,
            width,
            channels: self.channels,
            pixels,
        }
    }

    /// One channel at another size, row by row.
    fn resized(&self, channel: usize, height: usize, width: usize) -> impl Iterator<Item = f64> {
        let pixel = |y: usize, x: usize| {
            f64::from(self.pixels[(y * self.width + x) * self.channels + channel])
        };
        let mut rows = Vec::with_capacity(height * self.width);
        for taps in taps(self.height, height) {
            let row =
                (0..self.width).map(|x| taps.iter().map(|&(y, w)| w * pixel(y, x)).sum::<f64>());
            rows.extend(row);
        }
        let (columns, from) = (taps(self.width, width), self.width);
        (0..height * width).map(move |at| {
            let row = at / width * from;
            columns[at % width]
                .iter()
                .map(|&(x, w)| w * rows[row + x])
                .sum()
        })
    }
}

/// Bilinear interpolation between pixel centres along one side: for each new pixel the old ones
/// that it is made of, and their weights, which add up to 1. Where the side shrinks, the triangle
/// is as wide as the step, so that no pixel is skipped.
fn taps(from: usize, to: usize) -> Vec<Vec<(usize, f64)>> {
    let reach = (from as f64 / to as f64).max(1.0);
    let of = |new: usize| {
        let centre = (new as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor() as usize).min(from - 1);
        let weight = |old: usize| 1.0 - (old as f64 - centre).abs() / reach;
        let total: f64 = (first..=last).map(weight).sum();
        (first..=last)
            .map(|old| (old, weight(old) / total))
            .collect()
    };
    (0..to).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three grey pictures of 2 x 1, with an array of a byte each.
    fn npz(arrays: &[(&str, [i8; 3])]) -> tempfile::TempDir {
        use npyz::WriterBuilder;
        let folder = tempfile::tempdir().expect("folder");
        let mut npz = npyz::npz::NpzWriter::create(folder.path().join("t.npz")).expect("file");
        let x = npz.array("x", Default::default()).expect("entry");
        let mut x = x
            .default_dtype()
            .shape(&[3, 2, 1])
            .begin_nd()
            .expect("header");
        x.extend([1u8, 2, 3, 4, 5, 6]).expect("pixels");
        x.finish().expect("shape");
        for (name, values) in arrays {
            let array = npz.array(name, Default::default()).expect("entry");
            let mut array = array
                .default_dtype()
                .shape(&[3])
                .begin_nd()
                .expect("header");
            array.extend(*values).expect("values");
            array.finish().expect("shape");
        }
        drop(npz);
        folder
    }

    #[test]
    fn pictures_of_an_npz_file_have_its_labels_and_groups() {
        let folder = npz(&[("y", [1, -1, 0]), ("group", [7, 7, 3])]);
        let path = folder.path().join("t.npz");
        let (images, known) = Images::open(&path, 9).expect("images");
        assert_eq!(known.labels, ["class-0", "class-1"]);
        assert_eq!((known.classes, known.groups), (vec![1, 0], vec![7, 3]));
        assert_eq!(images.len(), 2);
        assert_eq!(images.get(1).expect("an image").pixels, [5, 6]);
        assert!(images.get(2).is_err());
        let (images, known) = Images::open(&path, 1).expect("images");
        assert_eq!((images.len(), known.classes), (1, vec![1]));
        for (limit, length) in [(2, 2), (usize::MAX, 3)] {
            let images = Images::unlabelled(&path, limit).expect("no labels are needed");
            assert_eq!(images.len(), length);
            assert!(images.get(length - 1).is_ok() && images.get(length).is_err());
        }
        assert!(Pictures::has_classes(&path));
    }

    #[test]
    fn an_npz_file_without_labels_is_said_to_have_none() {
        let fault = |folder: tempfile::TempDir| {
            let opened = Images::open(&folder.path().join("t.npz"), 9).map(|_| ());
            opened.expect_err("no labels").to_string()
        };
        let plain = npz(&[]);
        assert!(!Pictures::has_classes(&plain.path().join("t.npz")));
        assert!(fault(plain).contains("t.npz has no array y"));
        assert!(fault(npz(&[("y", [-1; 3])])).contains("no picture with a label"));
        // Nobody says whose they are: each stands alone.
        let folder = npz(&[("y", [0; 3])]);
        let (_, known) = Images::open(&folder.path().join("t.npz"), 9).expect("images");
        assert_eq!(known.groups, [0, 1, 2]);
    }

    fn row(pixels: &[u8], width: usize) -> Vec<f64> {
        let image = Picture {
            height: 1,
            width: pixels.len(),
            channels: 1,
            pixels: pixels.to_vec(),
        };
        image.resized(0, 1, width).collect()
    }

    #[test]
    fn images_are_resized_between_pixel_centres() {
        let cases: [(&[u8], &[f64]); 5] = [
            (&[1, 2, 3], &[1.0, 2.0, 3.0]),
            (&[0, 100], &[0.0, 25.0, 75.0, 100.0]),
            (&[8], &[8.0; 5]),
            (&[7; 9], &[7.0; 4]),
            // Triangles of half width 2 around 0.5 and 2.5, cut at the edges.
            (&[0, 0, 80, 80], &[80.0 / 7.0, 480.0 / 7.0]),
        ];
        for (pixels, expected) in cases {
            let found = row(pixels, expected.len());
            let near = found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near, "{pixels:?}: {found:?}");
        }
    }

    #[test]
    fn channels_and_rows_stay_apart() {
        let image = Picture {
            height: 2,
            width: 1,
            channels: 3,
            pixels: vec![1, 2, 3, 11, 12, 13],
        };
        for channel in 0..3 {
            let plane: Vec<f64> = image.resized(channel, 2, 1).collect();
            assert_eq!(plane, [1.0, 11.0].map(|v| v + channel as f64));
        }
    }

    #[test]
    fn labels_are_found_beside_the_images() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, header: &[u8], values: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, [header, values].concat()).expect("file");
            path
        };
        let images = [0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2];
        let path = write("t-images-idx3-ubyte", &images, &[1, 2, 3, 4, 5, 6]);
        let fault = |limit| Images::open(&path, limit).map(|_| ()).expect_err("refused");
        assert!(format!("{:#}", fault(9)).contains("t-labels-idx1-ubyte"));
        for (limit, length) in [(2, 2), (9, 3)] {
            let images = Images::unlabelled(&path, limit).expect("no labels are needed");
            assert_eq!(images.len(), length);
            assert!(images.get(length - 1).is_ok() && images.get(length).is_err());
        }
        write("t-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2], &[3, 1]);
        assert!(fault(9).to_string().contains("do not belong together"));
        write("t-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 3], &[3, 1, 0]);
        let (images, items) = Images::open(&path, 2).expect("images");
        assert_eq!(items.labels, ["0", "1", "2", "3"]);
        assert_eq!((items.classes, items.groups), (vec![3, 1], vec![0, 1]));
        assert_eq!(images.get(1).expect("an image").pixels, [3, 4]);
        assert!(images.get(2).is_err());
    }
}
