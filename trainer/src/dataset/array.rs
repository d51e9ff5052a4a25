//! One array out of an `.npz` archive. Nothing in it is trusted: memory is taken as bytes arrive,
//! and a header is checked against the bytes that follow before anything is made of it.

use std::io::{Cursor, Read, Seek};

use npyz::npz::NpzArchive;
use npyz::{DType, Deserialize, NpyFile, Order, TypeChar};

use super::Fault;

/// The largest array that is read, in bytes: a small file can unpack to far more than that.
const LARGEST_ARRAY: u64 = 4 << 30;

/// Bytes of a header that are read; numpy writes 128.
const LONGEST_HEADER: u64 = 1 << 16;

const NUMBERS: &str = "an integer type, float32 or float64";

pub(super) type Archive<'a> = NpzArchive<Cursor<&'a [u8]>>;

/// An array of numbers as the file has it.
pub(super) struct Array<T> {
    pub shape: Vec<u64>,
    pub values: Vec<T>,
    /// The file has whole numbers.
    pub integer: bool,
}

/// An array of numbers of any type, each passed through `convert`; `None` where there is none.
pub(super) fn numbers<T>(
    archive: &mut Archive,
    array: &'static str,
    convert: impl Fn(f64) -> T,
) -> Result<Option<Array<T>>, Fault> {
    fn converted<S: Deserialize, T>(
        npy: NpyFile<&[u8]>,
        array: &'static str,
        convert: impl Fn(S) -> T,
    ) -> Result<Vec<T>, Fault> {
        let damaged = |e: std::io::Error| Fault::Damaged {
            array,
            reason: e.to_string(),
        };
        let data = npy
            .data::<S>()
            .map_err(|e| damaged(std::io::Error::other(e)))?;
        data.map(|value| value.map(&convert).map_err(damaged))
            .collect()
    }
    let Some(bytes) = entry(archive, array)? else {
        return Ok(None);
    };
    let npy = open(&bytes, array)?;
    let shape = npy.shape().to_vec();
    let kind = scalar(&npy.dtype());
    let values = match kind {
        Some((TypeChar::Int, 1)) => converted(npy, array, |v: i8| convert(v.into())),
        Some((TypeChar::Int, 2)) => converted(npy, array, |v: i16| convert(v.into())),
        Some((TypeChar::Int, 4)) => converted(npy, array, |v: i32| convert(v.into())),
        Some((TypeChar::Int, 8)) => converted(npy, array, |v: i64| convert(v as f64)),
        Some((TypeChar::Uint, 1)) => converted(npy, array, |v: u8| convert(v.into())),
        Some((TypeChar::Uint, 2)) => converted(npy, array, |v: u16| convert(v.into())),
        Some((TypeChar::Uint, 4)) => converted(npy, array, |v: u32| convert(v.into())),
        Some((TypeChar::Uint, 8)) => converted(npy, array, |v: u64| convert(v as f64)),
        Some((TypeChar::Float, 4)) => converted(npy, array, |v: f32| convert(v.into())),
        Some((TypeChar::Float, 8)) => converted(npy, array, convert),
        _ => {
            let found = npy.dtype().descr();
            return Err(Fault::Type {
                array,
                found,
                wanted: NUMBERS,
            });
        }
    }?;
    let integer = !matches!(kind, Some((TypeChar::Float, _)));
    Ok(Some(Array {
        shape,
        values,
        integer,
    }))
}

pub(super) fn values<T: Deserialize>(
    npy: NpyFile<&[u8]>,
    array: &'static str,
) -> Result<Vec<T>, Fault> {
    npy.into_vec().map_err(|e| Fault::Damaged {
        array,
        reason: e.to_string(),
    })
}

/// Kind and size in bytes of a plain element; `None` for records and nested arrays.
pub(super) fn scalar(dtype: &DType) -> Option<(TypeChar, u64)> {
    match dtype {
        DType::Plain(plain) => Some((plain.type_char(), plain.size_field())),
        _ => None,
    }
}

/// The bytes of an array in the archive, unpacked; `None` where there is none of that name.
pub(super) fn entry(archive: &mut Archive, array: &'static str) -> Result<Option<Vec<u8>>, Fault> {
    let bytes = unpacked(archive, array, LARGEST_ARRAY + 1)?;
    match bytes {
        Some(bytes) if bytes.len() as u64 > LARGEST_ARRAY => Err(Fault::Damaged {
            array,
            reason: format!("it is larger than {LARGEST_ARRAY} bytes"),
        }),
        bytes => Ok(bytes),
    }
}

/// An array's type and shape, of which no more than the header is read; `None` where there is none of
/// that name.
pub(super) fn kind<R: Read + Seek>(
    archive: &mut NpzArchive<R>,
    array: &'static str,
) -> Result<Option<(DType, Vec<u64>)>, Fault> {
    let Some(bytes) = unpacked(archive, array, LONGEST_HEADER)? else {
        return Ok(None);
    };
    let (npy, _) = parsed(&bytes, array)?;
    Ok(Some((npy.dtype(), npy.shape().to_vec())))
}

/// The first `most` bytes of an array.
fn unpacked<R: Read + Seek>(
    archive: &mut NpzArchive<R>,
    array: &'static str,
    most: u64,
) -> Result<Option<Vec<u8>>, Fault> {
    if !archive.array_names().any(|name| name == array) {
        return Ok(None);
    }
    let damaged = |reason: String| Fault::Damaged { array, reason };
    let file = archive.zip_archive().by_name(&format!("{array}.npy"));
    let file = file.map_err(|e| damaged(e.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(most).read_to_end(&mut bytes);
    read.map_err(|e| damaged(e.to_string()))?;
    Ok(Some(bytes))
}

/// Parses an array's header and checks that as many elements follow as it promises.
pub(super) fn open<'a>(bytes: &'a [u8], array: &'static str) -> Result<NpyFile<&'a [u8]>, Fault> {
    let damaged = |reason: String| Fault::Damaged { array, reason };
    let (npy, data) = parsed(bytes, array)?;
    let size = npy.dtype().num_bytes().unwrap_or(0) as u64;
    let promised = npy.len().checked_mul(size);
    if size == 0 || promised != Some(data.len() as u64) {
        let shape = npy.shape();
        let found = data.len();
        return Err(damaged(format!(
            "its header promises {shape:?} elements of {size} bytes, {found} bytes follow"
        )));
    }
    if npy.order() == Order::Fortran && npy.shape().len() > 1 {
        return Err(Fault::FortranOrder { array });
    }
    Ok(npy)
}

/// Parses an array's header; what follows it is not looked at.
fn parsed<'a>(
    bytes: &'a [u8],
    array: &'static str,
) -> Result<(NpyFile<&'a [u8]>, &'a [u8]), Fault> {
    let damaged = |reason: String| Fault::Damaged { array, reason };
    let (header, data) = header(bytes).ok_or_else(|| damaged("no .npy header".into()))?;
    // A header of plain elements has one brace and one parenthesis, and few digits. More would
    // let the parser recurse without end, or let the product of the dimensions overflow.
    let count = |set: &[u8]| header.iter().filter(|b| set.contains(b)).count();
    if count(b"([{") > 2 || count(b"0123456789") > 19 {
        let found = String::from_utf8_lossy(&header[..header.len().min(80)])
            .trim()
            .to_owned();
        return Err(Fault::Type {
            array,
            found,
            wanted: NUMBERS,
        });
    }
    let npy = NpyFile::new(bytes).map_err(|e| damaged(e.to_string()))?;
    Ok((npy, data))
}

/// The text of an .npy header, and what follows it.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (length, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (u16::from_le_bytes([*a, *b]).into(), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
        _ => return None,
    };
    rest.split_at_checked(length as usize)
}
