//! The IDX format of MNIST and its relatives: two zero bytes, the type (8: bytes), the number of
//! dimensions, each dimension as a big-endian u32, the values.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;
use flate2::bufread::GzDecoder;

/// What stands for the images in a file's name.
pub const IMAGES: &str = "images-idx3";
/// What stands there in the name of the file of labels.
pub const LABELS: &str = "labels-idx1";

/// Where the labels of a file of images should be; `None` where its name does not say that it has
/// images.
pub fn labels_beside(images: &Path) -> Option<std::path::PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name
        .contains(IMAGES)
        .then(|| name.replace(IMAGES, LABELS))?;
    Some(images.with_file_name(labels))
}

/// The largest side of an image.
const LARGEST: usize = 4096;

/// The first items of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Idx {
    /// Items that the whole file has, at least 1.
    pub total: usize,
    /// The shape of an item, no dimension 0: [height, width] of an image, nothing of a label.
    pub shape: Vec<usize>,
    /// The items that were read, one after the other.
    pub values: Vec<u8>,
}

/// Why a file is not usable.
#[derive(Debug, thiserror::Error)]
pub enum IdxError {
    /// The operating system's word, or that of the gzip format.
    #[error("can't be read")]
    Io(#[from] std::io::Error),
    /// Another format.
    #[error(
        "is no IDX file of bytes with {rank} dimension(s): it begins with {found:02x?}, not [00, 00, 08, {rank:02x}]"
    )]
    NotIdx {
        /// Dimensions that were expected, at most 3.
        rank: u8,
        /// The first bytes.
        found: [u8; 4],
    },
    /// Sizes that no data set has.
    #[error("says it has {0:?} values: its header is damaged, or it is empty")]
    Sizes(Vec<u32>),
    /// Fewer bytes than the header promises.
    #[error("is cut short: {wanted} bytes of items are needed, {found} are there")]
    Short {
        /// Bytes of the items to read.
        wanted: u64,
        /// Bytes that came.
        found: u64,
    },
}

/// Reads the first `limit` items of a file whose items have `rank - 1` dimensions; it may be
/// gzipped.
pub fn load(path: &Path, rank: u8, limit: usize) -> anyhow::Result<Idx> {
    let read = || Idx::read(BufReader::new(File::open(path)?), rank, limit);
    read().with_context(|| path.display().to_string())
}

impl Idx {
    /// Reads the first `limit` items of a file's bytes, as [`load`] does.
    ///
    /// # Errors
    /// All of [`IdxError`].
    pub fn read(mut bytes: impl BufRead, rank: u8, limit: usize) -> Result<Idx, IdxError> {
        match bytes.fill_buf()? {
            [0x1f, 0x8b, ..] => parse(GzDecoder::new(bytes), rank, limit),
            _ => parse(bytes, rank, limit),
        }
    }
}

/// Reads the first `limit` items. Memory is taken as the bytes arrive, not as the header promises.
fn parse(mut bytes: impl Read, rank: u8, limit: usize) -> Result<Idx, IdxError> {
    let found = word(&mut bytes)?;
    if found != [0, 0, 8, rank] {
        return Err(IdxError::NotIdx { rank, found });
    }
    let mut sizes = Vec::new();
    for _ in 0..rank {
        sizes.push(u32::from_be_bytes(word(&mut bytes)?));
    }
    let shape: Vec<usize> = sizes.iter().skip(1).map(|&n| n as usize).collect();
    let plausible = shape.iter().all(|side| (1..=LARGEST).contains(side));
    let total = match sizes.first() {
        Some(&total @ 1..) if plausible => total as usize,
        _ => return Err(IdxError::Sizes(sizes)),
    };
    let item: usize = shape.iter().product();
    let wanted = total.min(limit) as u64 * item as u64;
    let mut values = Vec::new();
    let found = bytes.take(wanted).read_to_end(&mut values)? as u64;
    match found < wanted {
        true => Err(IdxError::Short { wanted, found }),
        false => Ok(Idx {
            total,
            shape,
            values,
        }),
    }
}

fn word(bytes: &mut impl Read) -> std::io::Result<[u8; 4]> {
    let mut word = [0; 4];
    bytes.read_exact(&mut word)?;
    Ok(word)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Three images of 2 x 4.
    fn images() -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 4];
        bytes.extend(0..24);
        bytes
    }

    #[test]
    fn items_are_read_up_to_the_limit() {
        let all = parse(&images()[..], 3, usize::MAX).expect("images");
        assert_eq!((all.total, &all.shape[..]), (3, &[2, 4][..]));
        assert_eq!(all.values, (0..24).collect::<Vec<u8>>());
        let two = parse(&images()[..], 3, 2).expect("images");
        assert_eq!((two.total, two.values.len()), (3, 16));
        let labels = [0, 0, 8, 1, 0, 0, 0, 2, 7, 9];
        let labels = parse(&labels[..], 1, 5).expect("labels");
        assert_eq!((labels.total, labels.values), (2, vec![7, 9]));
    }

    #[test]
    fn gzipped_files_are_the_same() {
        let folder = tempfile::tempdir().expect("folder");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gz.write_all(&images()).expect("memory");
        let gz = gz.finish().expect("memory");
        let (plain, packed) = (folder.path().join("plain"), folder.path().join("packed"));
        std::fs::write(&plain, images()).expect("file");
        std::fs::write(&packed, &gz).expect("file");
        let read = |path| load(path, 3, 9).expect("images");
        assert_eq!(read(&plain), read(&packed));
        std::fs::write(&packed, &gz[..gz.len() / 2]).expect("file");
        let fault = load(&packed, 3, 9).expect_err("cut short");
        assert!(format!("{fault:#}").contains("packed: can't be read"));
    }

    #[test]
    fn cut_files_are_refused() {
        let good = images();
        for length in 0..good.len() {
            let fault = parse(&good[..length], 3, usize::MAX).expect_err("cut short");
            let short = matches!(fault, IdxError::Short { wanted: 24, .. });
            assert_eq!(short, length >= 16, "{length}: {fault}");
        }
    }

    #[test]
    fn damaged_headers_are_refused() {
        for at in 0..16 {
            for value in 0..=255 {
                let mut bytes = images();
                if bytes[at] == value {
                    continue;
                }
                bytes[at] = value;
                // Only fewer or smaller items than there are can still be read.
                let smaller = at % 4 == 3 && (1..bytes_of(at)).contains(&value) && at > 3;
                assert_eq!(
                    parse(&bytes[..], 3, usize::MAX).is_ok(),
                    smaller,
                    "{at}: {value}"
                );
            }
        }
        // Four billion images of sixteen megabytes, and a product that does not fit.
        for sizes in [
            [u32::MAX, 4096, 4096],
            [u32::MAX; 3],
            [1, u32::MAX, u32::MAX],
            [3, 0, 4],
            [0, 2, 4],
        ] {
            let mut bytes = vec![0, 0, 8, 3];
            bytes.extend(sizes.iter().flat_map(|n| n.to_be_bytes()));
            bytes.extend([0; 100]);
            assert!(parse(&bytes[..], 3, usize::MAX).is_err(), "{sizes:?}");
        }
        assert!(matches!(
            parse(&images()[..], 1, 9),
            Err(IdxError::NotIdx { .. })
        ));
    }

    /// The value of the byte at `at` in [`images`].
    fn bytes_of(at: usize) -> u8 {
        images()[at]
    }
}
