//! What the fuzzers in `fuzz/host` run: files as the host reads them. Each takes any bytes, and is true
//! where they were read as what they claim to be; some build a file of them whose checksums match, so
//! that the checks behind these are reached.

use std::io::{Cursor, Write};

use headstart::statistics::MAGIC as HEAD;
use headstart_trainer::dataset::{Dataset, Fault, Pictures};
use headstart_trainer::head::{Head, added};
use headstart_trainer::items::idx::Idx;
use headstart_trainer::items::{Owned, Picture, wav};
use headstart_trainer::keys;
use headstart_trainer::on_error::{OnError, Skipped};
use headstart_trainer::pretrain::checkpoint::Checkpoint;
use sha2::{Digest, Sha256};

use super::choices::Choices;
use super::networks;

/// A kind of file, and what one of them may cost.
pub struct Target {
    /// What the fuzzer calls it, and its corpus.
    pub name: &'static str,
    /// Reads it.
    pub run: fn(&[u8]) -> bool,
    /// Bytes of memory that it may take, all in all.
    pub memory: usize,
}

const fn target(name: &'static str, run: fn(&[u8]) -> bool) -> Target {
    Target {
        name,
        run,
        memory: 256 << 20,
    }
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    target("head", head),
    target("npz", npz),
    target("npz_arrays", npz_arrays),
    target("csv", csv),
    target("csv_cells", csv_cells),
    target("idx", idx),
    target("wav", sound),
    // Half a gibibyte of pixels is taken, in grey or in colour.
    Target {
        memory: 3 << 30,
        ..target("picture", picture)
    },
    target("key", key),
    target("checkpoint", checkpoint),
    // So is half a gibibyte for a tensor.
    Target {
        memory: 3 << 30,
        ..target("onnx", networks::onnx)
    },
    Target {
        memory: 3 << 30,
        ..target("onnx_graph", networks::graph)
    },
];

impl Target {
    /// The target of a name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// A head: as it is, and made of the bytes, sealed.
pub fn head(data: &[u8]) -> bool {
    let whole = is_head(data);
    is_head(&built_head(data)) || whole
}

/// A head that was read can be written, and is the same when it is read again.
fn is_head(bytes: &[u8]) -> bool {
    let Ok(head) = Head::parse(bytes) else {
        return false;
    };
    let again = head.bytes().expect("what a device wrote");
    assert_eq!(Head::parse(&again).expect("what was written"), head);
    for clip in [None, Some(3)] {
        let _ = added(&[head.clone(), head.clone()], 1, clip);
    }
    true
}

fn built_head(data: &[u8]) -> Vec<u8> {
    let mut choices = Choices::new(data);
    let gram = choices.once_in(2);
    let (dim, classes) = (choices.below(6), choices.below(4));
    let mut bytes = HEAD.to_vec();
    bytes.extend([1, 0, 1 + u8::from(gram), 0]);
    for size in [dim, classes] {
        let claimed = match choices.once_in(16) {
            true => choices.word() as u16,
            false => size as u16,
        };
        bytes.extend(claimed.to_le_bytes());
    }
    bytes.extend(u32::from(choices.byte()).to_le_bytes());
    bytes.extend([0; 32]);
    let number = |choices: &mut Choices, most: i32| match choices.once_in(16) {
        true => choices.word(),
        false => i32::from(choices.byte() as i8).clamp(-most, most),
    };
    for _ in 0..classes {
        let mut label = [0; 16];
        match choices.once_in(4) {
            true => {
                let text = choices.take(16);
                label[..text.len()].copy_from_slice(text);
            }
            false => label[0] = b'a' + choices.byte() % 4,
        }
        bytes.extend(label);
        let count = match choices.once_in(16) {
            true => choices.word(),
            false => 1 + i32::from(choices.byte() % 8),
        };
        bytes.extend(count.to_le_bytes());
        for _ in 0..dim {
            bytes.extend(number(&mut choices, 127).to_le_bytes());
        }
    }
    for _ in 0..if gram { dim * (dim + 1) / 2 } else { 0 } {
        bytes.extend(number(&mut choices, 127).to_le_bytes());
    }
    if choices.once_in(16) {
        bytes.truncate(bytes.len().saturating_sub(choices.below(64)));
    }
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// Recordings and pictures in an `.npz` file.
pub fn npz(data: &[u8]) -> bool {
    let read = |on_error| Dataset::from_npz(data, on_error);
    let recordings = is_dataset(read(OnError::Stop), read(OnError::Skip));
    let header = Pictures::are_in(Cursor::new(data));
    let Ok(pictures) = Pictures::from_npz(data) else {
        return recordings;
    };
    let size = pictures.height * pictures.width * pictures.channels;
    assert!(header && size > 0 && !pictures.is_empty());
    assert_eq!(pictures.pixels.len(), pictures.len() * size);
    let classes = pictures.classes.iter().flatten();
    let named = |class: &Option<u32>| class.is_none_or(|c| (c as usize) < pictures.labels.len());
    assert!(classes.into_iter().all(named));
    let lists = [
        &pictures.classes.as_ref().map(Vec::len),
        &pictures.groups.as_ref().map(Vec::len),
    ];
    assert!(lists.into_iter().flatten().all(|&n| n == pictures.len()));
    true
}

/// What the rest of the trainer relies on.
fn is_dataset(
    strict: Result<(Dataset, Skipped), Fault>,
    lenient: Result<(Dataset, Skipped), Fault>,
) -> bool {
    for (data, _) in strict.iter().chain(&lenient) {
        assert!(data.channels > 0 && !data.x.is_empty());
        assert_eq!(data.x.len(), data.rows() * data.channels);
        assert!(data.x.iter().all(|v| v.is_finite()));
        let mut end = 0;
        for recording in &data.recordings {
            assert_eq!(recording.rows.start, end);
            assert!(!recording.rows.is_empty());
            assert!(recording.class.is_none_or(|c| c < data.labels.len()));
            end = recording.rows.end;
        }
        assert_eq!(end, data.rows());
    }
    match (&strict, &lenient) {
        (Ok((strict, _)), Ok((lenient, _))) => assert_eq!(strict, lenient),
        (Ok(_), Err(fault)) => panic!("taken, and refused where more is taken: {fault}"),
        _ => {}
    }
    lenient.is_ok()
}

const NAMES: [&str; 10] = [
    "x",
    "y",
    "group",
    "recording",
    "side",
    "scale",
    "rate",
    "labels",
    "x",
    "z",
];
const TYPES: [(&str, usize); 20] = [
    ("'<f4'", 4),
    ("'|u1'", 1),
    ("'|i1'", 1),
    ("'<i2'", 2),
    ("'<f8'", 8),
    ("'<i8'", 8),
    ("'<u4'", 4),
    ("'>f4'", 4),
    ("'>i2'", 2),
    ("'<u8'", 8),
    ("'|S4'", 4),
    ("'<U2'", 8),
    ("'|b1'", 1),
    ("'<f2'", 2),
    ("'<c8'", 8),
    ("'|S0'", 0),
    ("'<U4611686018427387904'", 0),
    ("'|S999999999999'", 0),
    ("[('a', '<f4')]", 4),
    ("'<M8[ns]'", 8),
];

/// The bytes choose the arrays of an `.npz` file.
pub fn npz_arrays(data: &[u8]) -> bool {
    let mut choices = Choices::new(data);
    let mut npz = npyz::npz::NpzWriter::new(Cursor::new(Vec::new()));
    let zip = npz.zip_writer();
    let rows = choices.size(6) as usize;
    for number in 0..1 + choices.below(8) {
        let name = if number == 0 {
            "x"
        } else {
            choices.pick(&NAMES)
        };
        // Two arrays of one name are none that the writer makes.
        if zip
            .start_file(format!("{name}.npy"), Default::default())
            .is_err()
        {
            continue;
        }
        let (kind, size) = TYPES[choices.below(TYPES.len()).min(choices.below(TYPES.len()))];
        let mut shape = Vec::new();
        for place in 0..choices.below(5) {
            let side = match (place, choices.once_in(16)) {
                (_, true) => choices.word() as u32 as usize,
                (0, false) => rows,
                _ => choices.below(4),
            };
            shape.push(side);
        }
        let order = if choices.once_in(16) { "True" } else { "False" };
        let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
        let header = format!("{{'descr': {kind}, 'fortran_order': {order}, 'shape': ({sides}), }}");
        let values = shape.iter().fold(size, |n, &side| n.saturating_mul(side));
        let mut bytes = [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..]].concat();
        bytes.extend(header.as_bytes());
        let values = match choices.once_in(16) {
            true => choices.below(32),
            false => values.min(4096),
        };
        let fill = choices.byte();
        let own = if fill & 1 == 0 { values } else { values / 2 };
        let start = bytes.len();
        bytes.extend(choices.take(own));
        bytes.resize(start + values, fill >> 1 & 1);
        zip.write_all(&bytes).expect("memory");
    }
    let file = zip.finish().expect("memory");
    self::npz(file.get_ref())
}

/// A `.csv` file.
pub fn csv(data: &[u8]) -> bool {
    let read = |on_error| Dataset::from_csv(data, on_error);
    is_dataset(read(OnError::Stop), read(OnError::Skip))
}

const COLUMNS: [&str; 16] = [
    "x",
    "acc_x",
    "y",
    "label",
    "group",
    "recording",
    "side",
    "time",
    "t_ms",
    "\"a,b\"",
    "z",
    "w",
    "7",
    "",
    "class",
    "x",
];
const CELLS: [&str; 24] = [
    "0",
    "1",
    "2",
    "3.0",
    "-1",
    "0.5",
    "row",
    "curl",
    "1e39",
    "nan",
    "inf",
    "",
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "\"",
    "\"a\nb\"",
    " 2 ",
    "-0",
    "1e-320",
    "\u{e9}",
];
const ENDS: [&str; 8] = ["\n", "\n", "\n", "\r\n", "\n\n", ",\n", "\r", "\n\"\n"];

/// The bytes choose the lines of a `.csv` file.
pub fn csv_cells(data: &[u8]) -> bool {
    let mut choices = Choices::new(data);
    let mut columns: Vec<&str> = Vec::new();
    for _ in 0..choices.size(6) {
        let name = choices.pick(&COLUMNS);
        if !columns.contains(&name) || choices.once_in(16) {
            columns.push(name);
        }
    }
    let mut text = columns.join(",") + choices.pick(&ENDS);
    for line in 0..choices.below(24) {
        let cells = columns.iter().map(|name| match choices.once_in(4) {
            true => choices.pick(&CELLS).to_owned(),
            false if name.starts_with('t') => (line * 20).to_string(),
            false => (choices.byte() % 4).to_string(),
        });
        text += &cells.collect::<Vec<_>>().join(",");
        text += match choices.once_in(8) {
            true => choices.pick(&ENDS),
            false => "\n",
        };
    }
    csv(text.as_bytes())
}

/// An IDX file; its first byte says whether of pictures or of labels, and how many are read.
pub fn idx(data: &[u8]) -> bool {
    let Some((&first, file)) = data.split_first() else {
        return false;
    };
    let rank = if first & 1 == 0 { 3 } else { 1 };
    let limit = if first & 2 == 0 { usize::MAX } else { 3 };
    let Ok(read) = Idx::read(file, rank, limit) else {
        return false;
    };
    let item: usize = read.shape.iter().product();
    assert!(read.total > 0 && item > 0 && read.shape.len() == usize::from(rank) - 1);
    assert_eq!(read.values.len(), read.total.min(limit) * item);
    true
}

/// A WAV file.
pub fn sound(data: &[u8]) -> bool {
    const MOST: usize = 16_000;
    let Ok(samples) = wav::samples(data, 16_000, MOST) else {
        return false;
    };
    assert!((1..=MOST).contains(&samples.len()) && samples.iter().all(|v| v.is_finite()));
    true
}

/// A PNG or JPEG file.
pub fn picture(data: &[u8]) -> bool {
    let Ok(picture) = Picture::decode(Cursor::new(data)) else {
        return false;
    };
    let _ = Owned::Picture(picture).signal();
    true
}

/// A key file.
pub fn key(data: &[u8]) -> bool {
    keys::parse(data).is_some_and(|(_, key)| key.is_some())
}

/// A checkpoint, sealed.
pub fn checkpoint(data: &[u8]) -> bool {
    let digest = Sha256::digest(data);
    Checkpoint::parse(&[data, &digest].concat()).is_ok()
}
