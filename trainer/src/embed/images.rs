//! Images, and encoders that take them as ImageNet's do.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};

use super::Items;
use super::folder::{self, Kind};
use super::idx::{self, Idx};
use super::network::Network;
use super::views::View;
use crate::error::Failure;

/// What stands for the images in an IDX file's name, and for the labels in that of the other.
const IMAGES: &str = "images-idx3";
const LABELS: &str = "labels-idx1";

/// The largest side of an encoder's input.
const LARGEST_SIDE: usize = 2048;
/// The largest side of an image in a file.
const LARGEST_FILE: u32 = 16_384;

/// An image encoder of a fixed input size.
pub struct ImageEncoder {
    network: Network,
    height: usize,
    width: usize,
}

/// A data set of images.
pub enum Images {
    /// All in memory, grey.
    Idx(Idx),
    /// One a file.
    Files(Vec<PathBuf>),
}

/// Rows of pixels, channels innermost.
pub struct Image {
    height: usize,
    width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    channels: usize,
    pixels: Vec<u8>,
}

impl Images {
    /// Opens an IDX file or a folder of class folders; the first `limit` images of it.
    pub fn open(data: &Path, limit: usize) -> Result<(Images, Items), Failure> {
        if data.is_dir() {
            let mut files = folder::list(data, Kind::Image)?;
            let items = files.items(limit, |paths| (0..paths.len() as u32).collect());
            return Ok((Images::Files(files.paths), items));
        }
        let images = idx_images(data, limit)?;
        let name = data.file_name().unwrap_or_default().to_string_lossy();
        let beside = data.with_file_name(name.replace(IMAGES, LABELS));
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
        let items = Items {
            labels: (0..=most).map(|class| class.to_string()).collect(),
            groups: (0..classes.len() as u32).collect(),
            classes,
        };
        Ok((Images::Idx(images), items))
    }

    /// Opens an IDX file, without its labels, or a folder that has images, else its class
    /// folders; the first `limit` images of it.
    pub fn unlabelled(data: &Path, limit: usize) -> Result<Images, Failure> {
        if !data.is_dir() {
            return Ok(Images::Idx(idx_images(data, limit)?));
        }
        let mut paths = folder::flat(data, Kind::Image)?;
        if paths.is_empty() {
            paths = folder::list(data, Kind::Image)?.paths;
        }
        paths.truncate(limit);
        Ok(Images::Files(paths))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Images::Idx(idx) => idx.values.len() / idx.shape.iter().product::<usize>().max(1),
            Images::Files(paths) => paths.len(),
        }
    }

    /// Image number `i`.
    pub fn get(&self, i: usize) -> anyhow::Result<Image> {
        match self {
            Images::Idx(idx) => {
                let &[height, width] = &idx.shape[..] else {
                    bail!("images have {} dimensions", idx.shape.len());
                };
                let pixels = idx.values.chunks(height * width).nth(i);
                Ok(Image {
                    height,
                    width,
                    channels: 1,
                    pixels: pixels.context("no such image")?.to_vec(),
                })
            }
            Images::Files(paths) => {
                let path = paths.get(i).context("no such image")?;
                let read = || {
                    let mut reader = image::ImageReader::open(path)?.with_guessed_format()?;
                    let mut limits = image::Limits::default();
                    limits.max_image_width = Some(LARGEST_FILE);
                    limits.max_image_height = Some(LARGEST_FILE);
                    reader.limits(limits);
                    reader.decode()
                };
                let image = read()
                    .with_context(|| path.display().to_string())?
                    .into_rgb8();
                ensure!(!image.is_empty(), "{} has no pixels", path.display());
                Ok(Image {
                    height: image.height() as usize,
                    width: image.width() as usize,
                    channels: 3,
                    pixels: image.into_raw(),
                })
            }
        }
    }
}

/// The first `limit` images of an IDX file whose name says that it has images.
fn idx_images(data: &Path, limit: usize) -> Result<Idx, Failure> {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains(IMAGES) {
        return Err(Failure::Usage(format!(
            "{} is neither a folder nor an IDX file: --preset imagenet takes a file called ...-{IMAGES}-ubyte, gzipped or not, with ...-{LABELS}-ubyte beside it, or a folder of class folders",
            data.display()
        )));
    }
    Ok(idx::load(data, 3, limit)?)
}

impl ImageEncoder {
    /// Reads an encoder that takes [n, 3, height, width].
    pub fn load(path: &Path) -> anyhow::Result<ImageEncoder> {
        let network = Network::load(path, "models/get image", |declared| match *declared {
            [
                _,
                Some(3),
                Some(h @ 1..=LARGEST_SIDE),
                Some(w @ 1..=LARGEST_SIDE),
            ] => Ok(vec![1, 3, h, w]),
            _ => bail!(
                "its input is {}, not [n, 3, height, width] of fixed size: --preset imagenet is for encoders like efficientnet_lite0_b11.onnx (models/get image)",
                Network::shape(declared)
            ),
        })?;
        match *network.input() {
            [_, _, height, width] => Ok(ImageEncoder {
                height,
                width,
                network,
            }),
            _ => bail!("it takes no images"),
        }
    }

    /// The embedding of one image, or of a view of it.
    pub fn embed(&self, image: &Image, view: Option<&View>) -> anyhow::Result<Vec<f32>> {
        let output = self.network.run(&self.input(image, view))?;
        let area: usize = output.shape.iter().skip(2).product();
        let dims = output.shape.len();
        ensure!(
            matches!(dims, 2 | 4) && output.shape[0] == 1,
            "the encoder's output is {:?}, not [1, values] or [1, values, height, width]",
            output.shape
        );
        let mean = |values: &[f32]| values.iter().sum::<f32>() / area as f32;
        Ok(output.values.chunks(area).map(mean).collect())
    }

    /// [3, height, width] of (pixel - 127) / 128. A view is taken at this size: at the image's own
    /// a small one would lose detail to a second interpolation, which images as they are do not.
    fn input(&self, image: &Image, view: Option<&View>) -> Vec<f32> {
        let mut input = Vec::with_capacity(3 * self.height * self.width);
        let stretch = (image.height * self.width) as f64 / (image.width * self.height) as f64;
        for channel in 0..3 {
            let plane = image.resized(channel % image.channels, self.height, self.width);
            let mut plane: Vec<f64> = plane.collect();
            if let Some(view) = view {
                plane = view.of(&plane, self.width, stretch);
            }
            // Rounded to a byte, as an image of that size would be.
            let value = |v: f64| (v.round_ties_even() as f32 - 127.0) / 128.0;
            input.extend(plane.into_iter().map(value));
        }
        input
    }
}

impl Image {
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

    fn row(pixels: &[u8], width: usize) -> Vec<f64> {
        let image = Image {
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
        let image = Image {
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
