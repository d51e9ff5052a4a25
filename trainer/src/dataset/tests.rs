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
            npz::parse(&bytes[..end], OnError::Skip).is_err(),
            "truncated to {end} bytes"
        );
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        for on_error in [OnError::Stop, OnError::Skip] {
            let _ = npz::parse(&damaged, on_error);
        }
    }
}

#[test]
fn rows_without_numbers_are_cut_out_where_asked_for() {
    let x = [0.0, 1.0, f32::NAN, 3.0, 4.0, f32::INFINITY];
    let npz = |x: &[f32]| {
        Npz::new()
            .with("x", &[6, 1], x)
            .with("y", &[6], &[0u8, 0, 0, 0, 1, 1])
            .with("recording", &[6], &[3u8, 3, 3, 3, 4, 4])
    };
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("data.npz");
    fs::write(&path, npz(&x).bytes()).expect("file");
    let stop = Dataset::load(&path).expect_err("not finite").to_string();
    assert!(
        stop.contains("array x is NaN in row 2, channel 0"),
        "{stop}"
    );
    let (data, skipped) = Dataset::load_with(&path, OnError::Skip).expect("four rows");
    assert_eq!(data.x, [0.0, 1.0, 3.0, 4.0]);
    let recordings = data.recordings.iter();
    let recordings: Vec<_> = recordings
        .map(|r| (r.rows.clone(), r.id, r.class))
        .collect();
    assert_eq!(
        recordings,
        [(0..2, 3, Some(0)), (2..3, 3, Some(0)), (3..4, 4, Some(1))]
    );
    let text = skipped.to_string();
    assert!(
        text.starts_with("skipped 2 of 6 rows; the first: array x is NaN in row 2"),
        "{text}"
    );
    fs::write(&path, npz(&[f32::NAN; 6]).bytes()).expect("file");
    let nothing = Dataset::load_with(&path, OnError::Skip).expect_err("nothing is left");
    assert!(
        nothing.to_string().contains("skipped 6 of 6 rows"),
        "{nothing}"
    );
    fs::write(&path, npz(&[0.0; 6]).bytes()).expect("file");
    let (data, skipped) = Dataset::load_with(&path, OnError::Skip).expect("all rows");
    assert_eq!((data.rows(), skipped.count()), (6, 0));
}

#[test]
fn pictures_come_with_what_is_known_of_them() {
    let pixels: Vec<u8> = (0..36).collect();
    let grey = Npz::new()
        .with("x", &[3, 2, 2], &pixels[..12])
        .with("y", &[3], &[1i8, -1, 0])
        .with("group", &[3], &[5u8, 6, 7])
        .with("labels", &[2, 1], b"ab");
    let grey = npz::pictures(&grey.bytes()).expect("pictures");
    assert_eq!((grey.height, grey.width, grey.channels), (2, 2, 1));
    assert_eq!((grey.len(), &grey.pixels[..]), (3, &pixels[..12]));
    assert_eq!(grey.classes, Some(vec![Some(1), None, Some(0)]));
    assert_eq!(grey.groups, Some(vec![5, 6, 7]));
    assert_eq!(grey.labels, ["a", "b"]);
    for channels in [1u64, 3] {
        let size = (3 * 4 * channels) as usize;
        let npz = Npz::new().with("x", &[3, 2, 2, channels], &pixels[..size]);
        let pictures = npz::pictures(&npz.bytes()).expect("pictures");
        assert_eq!((pictures.len(), pictures.channels as u64), (3, channels));
        assert_eq!((pictures.classes, pictures.groups), (None, None));
    }
    let refused = [
        (
            Npz::new().with("x", &[3, 4], &[0u8; 12]),
            "has shape [3, 4], but should be [pictures, ",
        ),
        (Npz::new().with("x", &[1, 2, 3, 2], &[0u8; 12]), "1 or 3]"),
        (
            Npz::new().with("x", &[0, 2, 2], &[] as &[u8]),
            "array x is empty",
        ),
        (
            Npz::new().with("x", &[1, 2, 2], &[0f32; 4]),
            "convert it to uint8",
        ),
        (
            Npz::new().with("y", &[1], &[0u8]),
            "has no array x, only [y]",
        ),
        (
            Npz::new()
                .with("x", &[1, 2, 2], &[0u8; 4])
                .with("y", &[2], &[0u8; 2]),
            "but should be [1], one a picture of x",
        ),
    ];
    for (npz, expected) in refused {
        let error = npz::pictures(&npz.bytes())
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains(expected),
            "{error}\nshould contain: {expected}"
        );
    }
}

/// The same for pictures.
#[test]
fn damaged_pictures_never_panic() {
    let npz = Npz::new()
        .with("x", &[2, 2, 1, 3], &[9u8; 12])
        .with("y", &[2], &[0u8, 1])
        .with("group", &[2], &[0u8, 1]);
    let bytes = npz.bytes();
    for end in 0..bytes.len() {
        assert!(
            npz::pictures(&bytes[..end]).is_err(),
            "truncated to {end} bytes"
        );
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = npz::pictures(&damaged);
    }
}

fn csv(text: &str, on_error: OnError) -> Result<(Dataset, Skipped), Fault> {
    csv::parse(text.as_bytes(), on_error)
}

fn of_csv(text: &str) -> Dataset {
    csv(text, OnError::Stop).expect("valid").0
}

#[test]
fn a_csv_file_is_what_its_columns_are_called() {
    let text = "\u{feff}Time, ax ,label,az,subject,recording,side\r\n\
        0.00,1,walk,-2.5,7,4,0\r\n\
        0.02,2,walk,1e2,7,4,0\r\n\
        \r\n\
        0.04,\"3\",sit,0,7,9,1\r\n\
        0.06,4,,0,7,9,1";
    let data = of_csv(text);
    assert_eq!((data.channels, data.rate_hz), (2, Some(50.0)));
    assert_eq!(data.x, [1.0, -2.5, 2.0, 100.0, 3.0, 0.0, 4.0, 0.0]);
    assert_eq!(
        (&data.scale, &data.labels[..]),
        (&None, &["sit".into(), "walk".into()][..])
    );
    let recording = |rows, class, id, side| Recording {
        rows,
        class,
        group: 7,
        id,
        side: Some(side),
    };
    let expected = [
        recording(0..2, Some(1), 4, 0),
        recording(2..3, Some(0), 9, 1),
        recording(3..4, None, 9, 1),
    ];
    assert_eq!(data.recordings, expected);
    assert_eq!(data.sha256, <[u8; 32]>::from(Sha256::digest(text)));
}

#[test]
fn csv_classes_are_names_or_numbers() {
    let labels = |cells: &[&str]| {
        let data = of_csv(&format!("a,y\n0,{}\n", cells.join("\n0,")));
        let classes: Vec<_> = data.recordings.iter().map(|r| r.class).collect();
        (classes, data.labels)
    };
    let (classes, names) = labels(&["2", "0.0", "-1"]);
    assert_eq!(classes, [Some(2), Some(0), None]);
    assert_eq!(names, ["class-0", "class-1", "class-2"]);
    let (classes, names) = labels(&["2", "b", "a"]);
    assert_eq!(classes, [Some(0), Some(2), Some(1)]);
    assert_eq!(names, ["2", "a", "b"]);
    assert_eq!(of_csv("a\n1\n2\n").recordings.len(), 1);
}

#[test]
fn csv_times_give_the_rate_and_the_pauses() {
    // Rounded to milliseconds at 128 Hz, a lost sample, a pause, and a clock that starts again.
    let mut text = "t_ms,a\n".to_owned();
    let times = (0..100).chain(101..200).chain(1000..1100).chain(0..50);
    for i in times {
        text += &format!("{:.0},0\n", f64::from(i) * 7.8125);
    }
    let data = of_csv(&text);
    let rate = data.rate_hz.expect("a rate");
    assert!((rate - 128.0).abs() < 0.3, "{rate}");
    let rows: Vec<_> = data.recordings.iter().map(|r| r.rows.clone()).collect();
    assert_eq!(rows, [0..199, 199..299, 299..349]);
    assert_eq!(of_csv("t,a\n5,0\n").rate_hz, None);
    for times in ["1,0\n1,0\n1,0", "3,0\n2,0\n1,0", "0,0\n1e-300,0"] {
        let fault = csv(&format!("t,a\n{times}\n"), OnError::Stop).expect_err("no rate");
        assert!(
            fault
                .to_string()
                .contains("column t: the time does not go up"),
            "{fault}"
        );
    }
}

#[test]
fn csv_lines_without_numbers_are_cut_out_where_asked_for() {
    let text = "a,y\n1,u\n2,u\nNaN,u\n4,u\n5\n6,u\n";
    let (data, skipped) = csv(text, OnError::Skip).expect("four rows");
    assert_eq!(data.x, [1.0, 2.0, 4.0, 6.0]);
    let rows: Vec<_> = data.recordings.iter().map(|r| r.rows.clone()).collect();
    assert_eq!(rows, [0..2, 2..3, 3..4]);
    let expected =
        "skipped 2 of 6 rows; the first: line 4, column a: \"NaN\" should be a finite number";
    assert_eq!(skipped.to_string(), expected);
    let nothing = csv("a\nx\n", OnError::Skip)
        .expect_err("nothing is left")
        .to_string();
    assert!(nothing.contains("skipped 1 of 1 rows"), "{nothing}");
}

#[test]
fn what_is_wrong_with_a_csv_file_is_said() {
    let cases = [
        ("", "header line, column 1: no column is left"),
        ("a,b\n", "has no line below the header line"),
        (
            "1.5,2\n3,4\n",
            "header line, column 1: a number where a name should be",
        ),
        (",a\n0,1\n", "column 1: it has no name"),
        ("a;b\n0;1\n", "separated by commas"),
        ("a,b,a\n0,1,2\n", "column 3: another column"),
        ("a,y,label\n0,1,2\n", "column 3: another column"),
        ("a,t,time_ms\n0,1,2\n", "column 3: another column"),
        ("y,group\n0,1\n", "no column is left"),
        (
            "a,b\n1,2\n\n3\n",
            "line 4 ends at column 1, but the header line has 2 columns",
        ),
        ("a,b\r\n1,2\r\n3,4,5\r\n", "line 3 ends at column 3"),
        (
            "a,b\r\n1,2\r\n3,x",
            "line 3, column b: \"x\" should be a finite number",
        ),
        (
            "a\n1\ninf\n",
            "line 3, column a: \"inf\" should be a finite number",
        ),
        ("a\n1e40\n", "line 2, column a"),
        (
            "a,b\n1,\n",
            "line 2, column b: \"\" should be a finite number",
        ),
        (
            "a,group\n1,-1\n",
            "column group: \"-1\" should be a whole number",
        ),
        (
            "a,subject\n1,anna\n",
            "column subject: \"anna\" should be a whole number",
        ),
        ("a,side\n1,256\n", "should be a whole number from 0 to 255"),
        ("a,recording\n1,0.5\n", "line 2, column recording"),
        (
            "a,t\n1,nan\n",
            "line 2, column t: \"nan\" should be a moment",
        ),
        ("a,b\n1,\"2,3\n4,5\n", "line 2, column b"),
    ];
    for (text, expected) in cases {
        let error = csv(text, OnError::Stop).expect_err("refused").to_string();
        assert!(
            error.contains(expected),
            "{text:?}: {error}\nshould contain: {expected}"
        );
    }
    let fault = csv::parse(&b"a,y\n1,\xff\n"[..], OnError::Stop).expect_err("no UTF-8");
    assert!(fault.to_string().contains("line 2, column y"), "{fault}");
}

/// Every truncation, every byte replaced: an error or a data set, never a panic; and windows lie
/// inside the data.
#[test]
fn a_damaged_csv_file_never_panics() {
    let good = b"time,a,label,group,recording,side\n0,1,u,1,2,0\n0.5,-2e1,v,1,2,0\n1,3,v,1,3,1\n";
    let check = |bytes: &[u8]| {
        for on_error in [OnError::Stop, OnError::Skip] {
            if let Ok((data, _)) = csv::parse(bytes, on_error) {
                assert!(data.x.iter().all(|v| v.is_finite()));
                let last = data.recordings.last().expect("a recording");
                assert_eq!(last.rows.end, data.rows());
                let named = |r: &Recording| r.class.is_none_or(|c| c < data.labels.len());
                assert!(data.recordings.iter().all(named));
            }
        }
    };
    for end in 0..good.len() {
        check(&good[..end]);
    }
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut damaged = good.to_vec();
            damaged[at] = byte;
            check(&damaged);
        }
    }
}

#[test]
fn a_folder_is_its_files_together() {
    let folder = tempfile::tempdir().expect("folder");
    let write =
        |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("file");
    let npz = Npz::new()
        .with("x", &[2, 1], &[1.0f32, 2.0])
        .with("y", &[2], &[0u8, 1])
        .with("rate", &[1], &[50.0f32])
        .with("labels", &[2, 4], b"walksit\0");
    write("a.npz", &npz.bytes());
    write("b.CSV", b"t,v,y\n0,3,run\n0.02,4,sit\n0.04,5,sit\n");
    write("._b.csv", b"what macOS leaves");
    write("README.md", b"what people leave");
    let (data, skipped) = Dataset::load_with(folder.path(), OnError::Stop).expect("both");
    assert_eq!(data.x, [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(data.labels, ["walk", "sit", "run"]);
    let recordings: Vec<_> = data
        .recordings
        .iter()
        .map(|r| (r.rows.clone(), r.class))
        .collect();
    let expected = [
        (0..1, Some(0)),
        (1..2, Some(1)),
        (2..3, Some(2)),
        (3..5, Some(1)),
    ];
    assert_eq!((recordings, skipped.count()), (expected.to_vec(), 0));

    for (bytes, expected) in [
        (&b"t,v,w\n0,1,2\n0.02,1,2\n"[..], "has 2 channels, but "),
        (b"t,v\n0,1\n0.01,2\n", "has a rate of 100 Hz, but "),
        (b"v\n1\n2\n", "has no rate, but "),
        (b"t,v\n0,x\n", "line 2, column v"),
    ] {
        write("c.csv", bytes);
        let error = Dataset::load(folder.path())
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("c.csv: ") && error.contains(expected),
            "{error}"
        );
        let (others, skipped) =
            Dataset::load_with(folder.path(), OnError::Skip).expect("the others");
        assert_eq!((&others.x, others.sha256), (&data.x, data.sha256));
        let text = skipped.to_string();
        assert!(
            text.starts_with("skipped 1 of 3 files; the first: ") && text.contains("c.csv: "),
            "{text}"
        );
    }
    write("c.csv", b"t,v\n0,1\n0.02,\n0.04,3\n0.06,4\n");
    let (_, skipped) = Dataset::load_with(folder.path(), OnError::Skip).expect("but a row");
    let text = skipped.to_string();
    assert!(
        text.starts_with("skipped 1 of 9 rows; the first: ") && text.contains("c.csv: line 3"),
        "{text}"
    );
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
