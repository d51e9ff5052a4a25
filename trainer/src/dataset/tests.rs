use std::fs;
use std::io::Cursor;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

use super::*;

/// An `.npz` file in the making.
struct Npz(NpzWriter<Cursor<Vec<u8>>>);

impl Npz {
    fn new() -> Npz {
        Npz(NpzWriter::new(Cursor::new(Vec::new())))
    }

    fn with<T: npyz::AutoSerialize + Clone>(mut self, name: &str, shape: &[u64], v: &[T]) -> Npz {
        let entry = self.0.array(name, Default::default()).expect("entry");
        let writer = entry.default_dtype().shape(shape).begin_nd();
        let mut writer = writer.expect("header");
        writer.extend(v.iter().cloned()).expect("values");
        writer.finish().expect("shape");
        self
    }

    /// An array of arbitrary bytes, the header included.
    fn raw(mut self, name: &str, bytes: &[u8]) -> Npz {
        use std::io::Write;
        let zip = self.0.zip_writer();
        zip.start_file(format!("{name}.npy"), Default::default())
            .expect("entry");
        zip.write_all(bytes).expect("bytes");
        self
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0.zip_writer().finish().expect("zip").into_inner()
    }

    fn load(self) -> Result<Dataset, DatasetError> {
        load(&self.bytes())
    }

    fn error(self) -> String {
        self.load().expect_err("should be refused").to_string()
    }
}

fn load(bytes: &[u8]) -> Result<Dataset, DatasetError> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("data.npz");
    fs::write(&path, bytes).expect("file");
    Dataset::load(&path)
}

/// Six rows of two channels in two recordings.
fn stream() -> Npz {
    Npz::new()
        .with("x", &[6, 2], &[0i16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
        .with("y", &[6], &[0u8, 0, 0, 2, 2, 2])
        .with("group", &[6], &[7u8; 6])
        .with("recording", &[6], &[4u16, 4, 4, 9, 9, 9])
        .with("side", &[6], &[0u8, 0, 0, 1, 1, 1])
        .with("scale", &[2], &[0.5f32, 2.0])
        .with("rate", &[1], &[50.0f32])
        .with("labels", &[2, 4], b"sit\0walk")
}

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn a_stream_comes_in_physical_units_and_recordings() {
    let data = stream().load().expect("valid");
    assert_eq!(
        (data.channels, data.rows(), data.rate_hz),
        (2, 6, Some(50.0))
    );
    assert_eq!(data.x[..4], [0.0, 2.0, 1.0, 6.0]);
    assert_eq!(data.scale, Some(vec![0.5, 2.0]));
    assert_eq!(data.labels, ["sit", "walk", "class-2"]);
    let recording = |rows, class, id, side| Recording {
        rows,
        class: Some(class),
        group: 7,
        id,
        side: Some(side),
    };
    assert_eq!(
        data.recordings,
        [recording(0..3, 0, 4, 0), recording(3..6, 2, 9, 1)]
    );
}

#[test]
fn the_hash_is_that_of_the_file() {
    let bytes = stream().bytes();
    let data = load(&bytes).expect("valid");
    assert_eq!(data.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
}

#[test]
fn x_alone_is_one_unlabelled_recording() {
    let data = Npz::new()
        .with("x", &[3, 1], &[1.5f64, -2.0, 0.0])
        .load()
        .expect("valid");
    assert_eq!(
        (data.x.as_slice(), data.scale.is_none()),
        (&[1.5, -2.0, 0.0][..], true)
    );
    assert_eq!(data.recordings.len(), 1);
    assert_eq!((data.recordings[0].class, data.labels.len()), (None, 0));
}

#[test]
fn minus_one_is_unlabelled_and_splits_a_stream() {
    let npz = Npz::new()
        .with("x", &[4, 1], &[0i8; 4])
        .with("y", &[4], &[-1i64, 1, 1, -1]);
    let data = npz.load().expect("valid");
    let classes: Vec<_> = data
        .recordings
        .iter()
        .map(|r| (r.rows.clone(), r.class))
        .collect();
    assert_eq!(classes, [(0..1, None), (1..3, Some(1)), (3..4, None)]);
    assert_eq!(data.labels, ["class-0", "class-1"]);
}

#[test]
fn pre_cut_windows_are_a_recording_each() {
    for length in [1u64, 3] {
        let x = vec![0.0f32; (4 * length * 2) as usize];
        let npz =
            Npz::new()
                .with("x", &[4, length, 2], &x)
                .with("y", &[4], &[1.0f32, 1.0, 0.0, 0.0]);
        let data = npz.load().expect("valid");
        assert_eq!(data.recordings.len(), 4);
        assert_eq!(data.windows(length as usize, 1).len(), 4);
    }
}

#[test]
fn labels_may_be_numpy_strings() {
    let header = "{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }\n";
    let text = b"u\0\0\0p\0\0\0a\0\0\0\0\0\0\0";
    let npz = Npz::new()
        .with("x", &[2, 1], &[0u8; 2])
        .with("y", &[2], &[0u8, 1]);
    let data = npz.raw("labels", &npy(header, text)).load().expect("valid");
    assert_eq!(data.labels, ["up", "a"]);
}

#[test]
fn windows_stay_inside_their_recording() {
    let data = stream().load().expect("valid");
    let starts = |length, hop| -> Vec<_> {
        data.windows(length, hop)
            .iter()
            .map(|w| (w.recording, w.start))
            .collect()
    };
    assert_eq!(starts(2, 1), [(0, 0), (0, 1), (1, 3), (1, 4)]);
    assert_eq!(starts(2, 2), [(0, 0), (1, 3)]);
    assert_eq!(starts(3, 5), [(0, 0), (1, 3)]);
    assert_eq!(starts(4, 1), []);
    assert_eq!(data.window(1, 2), [1.0, 6.0, 2.0, 10.0]);
}

#[test]
fn a_filter_moves_rows_together() {
    let data = stream().load().expect("valid");
    let kept = data.filter(|r| r.id == 9);
    assert_eq!(kept.x, data.x[6..]);
    assert_eq!(kept.recordings[0].rows, 0..3);
    assert_eq!((&kept.labels, kept.sha256), (&data.labels, data.sha256));
    assert_eq!(data.filter(|_| false).windows(1, 1), []);
    assert_eq!(data.filter(|_| true), data);
}

#[test]
fn what_is_wrong_is_said() {
    let x = || Npz::new().with("x", &[2, 2], &[0i16; 4]);
    let header = |descr: &str, shape: &str| {
        npy(
            &format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"),
            b"",
        )
    };
    let deep = npy(&"(".repeat(60_000), b"");
    let fortran = npy(
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2), }\n",
        b"ab",
    );
    let cases = [
        (
            Npz::new().with("data", &[1], &[0u8]),
            "has no array x, only [data]",
        ),
        (
            Npz::new().with("x", &[4], &[0i16; 4]),
            "array x has shape [4], but should be [rows, channels]",
        ),
        (
            Npz::new().with("x", &[0, 6], &[] as &[f32]),
            "array x is empty: its shape is [0, 6]",
        ),
        (
            Npz::new().with("x", &[2, 2], &[1.0, 2.0, 3.0, f32::NAN]),
            "array x is NaN in row 1, channel 1",
        ),
        (
            Npz::new().with("x", &[1, 2], &[f64::MAX, 0.0]),
            "array x is inf in row 0, channel 0",
        ),
        (
            Npz::new().with("x", &[1, 2], &[true, false]),
            "array x has elements of type '|b1'",
        ),
        (
            Npz::new().raw("x", b"nonsense"),
            "array x can't be read: no .npy header",
        ),
        (
            Npz::new().raw("x", &header("<f4", "(99999999, 6)")),
            "[99999999, 6] elements of 4 bytes, 0 bytes follow",
        ),
        (
            Npz::new().raw("x", &header("<f4", "(9999999999, 9999999999)")),
            "array x has elements of type {'descr'",
        ),
        (
            Npz::new().raw("x", &header("|O", "(1, 1)")),
            "array x can't be read",
        ),
        (
            Npz::new().raw("x", &header("|V0", "(1, 1)")),
            "array x can't be read",
        ),
        (
            Npz::new().raw("x", &deep),
            "array x has elements of type (((",
        ),
        (Npz::new().raw("x", &fortran), "array x is in Fortran order"),
        (
            x().with("y", &[3], &[0u8; 3]),
            "array y has shape [3], but should be [2], one a row of x",
        ),
        (
            x().with("y", &[2, 1], &[0u8; 2]),
            "array y has shape [2, 1]",
        ),
        (
            x().with("y", &[2], &[0.0, 0.5]),
            "array y is 0.5 at index 1, but should be a class index",
        ),
        (x().with("y", &[2], &[0i32, -2]), "array y is -2 at index 1"),
        (
            x().with("y", &[2], &[0i64, 1 << 40]),
            "array y is 1099511627776 at index 1",
        ),
        (
            x().with("group", &[2], &[f32::NAN, 0.0]),
            "array group is NaN at index 0",
        ),
        (
            x().with("side", &[2], &[0u16, 256]),
            "array side is 256 at index 1",
        ),
        (
            x().with("scale", &[1], &[1.0f32]),
            "array scale has shape [1], but should be [2]",
        ),
        (
            x().with("scale", &[2], &[1.0f32, 0.0]),
            "array scale is 0 at index 1",
        ),
        (
            Npz::new()
                .with("x", &[1, 1], &[0f32])
                .with("scale", &[1], &[1f32]),
            "leave scale out",
        ),
        (
            x().with("rate", &[1], &[0.0f32]),
            "array rate is 0 at index 0",
        ),
        (
            x().with("rate", &[0], &[] as &[f32]),
            "array rate has shape [0]",
        ),
        (
            x().with("y", &[2], &[0u8; 2])
                .with("labels", &[1, 2], &[0xffu8, 0]),
            "no readable name for class 0",
        ),
        (
            x().with("y", &[2], &[0u8; 2])
                .with("labels", &[1, 2], &[0u8, 0]),
            "no readable name for class 0",
        ),
        (
            x().with("y", &[2], &[0u8; 2])
                .with("labels", &[2], &[1.0f32; 2]),
            "array labels has elements of type '<f4'",
        ),
    ];
    for (npz, expected) in cases {
        let error = npz.error();
        assert!(
            error.contains(expected),
            "{error}\nshould contain: {expected}"
        );
        assert!(error.contains("data.npz: "), "{error}");
    }
}

#[test]
fn what_is_no_archive_is_said() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = folder.path().join("missing.npz");
    let cases = [
        (Dataset::load(&missing), "could not be read"),
        (Dataset::load(folder.path()), "is a folder"),
        (load(b"time,ax\n0,1\n"), "is not an .npz file"),
        (load(b""), "is not an .npz file"),
    ];
    for (result, expected) in cases {
        let error = result.expect_err("should be refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Every truncation and every single bit flip gives an error or a dataset, never a panic.
#[test]
fn damage_never_panics() {
    let bytes = stream().bytes();
    for end in 0..bytes.len() {
        assert!(
            npz::parse(&bytes[..end]).is_err(),
            "truncated to {end} bytes"
        );
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = npz::parse(&damaged);
    }
}

/// The committed slice is what its README says.
#[test]
fn the_watch_set_is_as_described() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/data/watch/unseen.npz");
    let data = Dataset::load(&path).expect("committed");
    assert_eq!(
        (data.channels, data.rows(), data.rate_hz),
        (6, 51_750, Some(50.0))
    );
    assert_eq!(
        data.labels,
        ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]
    );
    assert_eq!(data.recordings.len(), 5 * 3 * 2);
    for subject in 6..=10 {
        for class in 4..=6 {
            for side in 0..=1 {
                let of = |r: &&Recording| {
                    (r.group, r.class, r.side) == (subject, Some(class), Some(side))
                };
                assert_eq!(data.recordings.iter().filter(of).count(), 1);
            }
        }
    }
    // A wrist that exercises slowly feels little more than gravity.
    let norm = |row: usize| {
        data.window(row, 1)[..3]
            .iter()
            .map(|a| a * a)
            .sum::<f32>()
            .sqrt()
    };
    let mean = (0..data.rows()).map(norm).sum::<f32>() / data.rows() as f32;
    assert!((0.9..1.2).contains(&mean), "{mean} g");
}
