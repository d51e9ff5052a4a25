use super::cells::cut;
use super::heads::answers;
use super::open::Opened;
use super::progress::Progress;
use super::select::{Groups, distinct_groups, select};
use super::space::{Input, Space};
use super::*;
use crate::dataset::Dataset;
use crate::encoder_file::EncoderFile;
use crate::episode::{Protocol, Sampler, Score};
use crate::features::Feature;
use crate::items::Owned;
use crate::tiny::{self, Watch};

fn input() -> Input {
    Input {
        channels: tiny::CHANNELS,
        window: tiny::WINDOW,
        hop: 8,
        rate: 50.0,
    }
}

fn dataset(watch: Watch) -> Dataset {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("data.npz");
    std::fs::write(&path, watch.npz()).expect("file");
    Dataset::load(&path).expect("valid")
}

fn opened(bytes: &[u8], name: &str) -> Opened {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("file");
    open::open(&path).expect("an encoder")
}

fn accuracy(space: &Space, data: &Dataset, kind: HeadKind) -> f64 {
    let sampler = Sampler::new(data, Protocol::SameWearer, cut(&input()));
    let episodes = sampler.episodes(3, 2, 60, 0).expect("enough windows");
    let embedded = space.embed(data, &data.windows(16, 8)).expect("embedded");
    let progress = Progress::new("test", episodes.len());
    let answers = answers(space, &embedded, kind, &episodes, &progress).expect("answers");
    Score::over(&answers).expect("episodes").accuracy
}

/// Movements that differ are told apart; labels that mean nothing are not.
#[test]
fn heads_learn_what_there_is_and_nothing_else() {
    let data = dataset(Watch::default());
    let mut meaningless = data.clone();
    // Every class's windows come from all recordings alike: one recording cut into as many
    // pieces as there are classes, each called by another name.
    meaningless.recordings = data
        .recordings
        .iter()
        .filter(|r| r.class == Some(0))
        .flat_map(|whole| {
            (0..4).map(|i| {
                let from = whole.rows.start + 75 * i;
                let (rows, class) = (from..from + 75, Some(i));
                crate::dataset::Recording {
                    rows,
                    class,
                    ..whole.clone()
                }
            })
        })
        .collect();
    let space = open::plain(Feature::HandMade, &data, &input()).expect("windows");
    for kind in HeadKind::ALL
        .into_iter()
        .filter(|k| k.runs_without_background())
    {
        let (own, none) = (
            accuracy(&space, &data, kind),
            accuracy(&space, &meaningless, kind),
        );
        assert!(own > 0.95, "{kind:?}: {own}");
        assert!((0.15..0.75).contains(&none), "{kind:?}: {none}");
    }
}

#[test]
fn float_and_pack_agree_on_the_tiny_encoder() {
    let data = dataset(Watch::default());
    let float = opened(&tiny::onnx(), "tiny.onnx");
    let file = float.file.as_ref().expect("an .onnx");
    let front = file.sensor().expect("a sensor's encoder");
    let counts: Vec<Owned> = data
        .windows(16, 8)
        .iter()
        .map(|w| Owned::Samples(front.counts(data.window(w.start, 16))))
        .collect();
    let (bytes, _) =
        crate::pack::pack(file, &counts, &crate::pack::Options::default()).expect("packable");
    let packed = opened(&bytes, "tiny.pack");
    assert_eq!(
        (float.input, float.space.dim),
        (packed.input, packed.space.dim)
    );
    let windows = data.windows(16, 8);
    let a = float.space.embed(&data, &windows).expect("float");
    let b = packed.space.embed(&data, &windows).expect("packed");
    let cosine = |i| {
        let (a, b) = (a.get(i)?, b.get(i)?);
        let dot = a.values().iter().zip(b.values());
        let dot: i32 = dot.map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
        Some(f64::from(dot) / f64::from(a.squared_norm() * b.squared_norm()).sqrt())
    };
    let least = (0..windows.len())
        .map(|i| cosine(i).expect("a signal"))
        .fold(1.0, f64::min);
    assert!(least > 0.97, "{least}");
}

/// One flipped bit in each byte: an error or an encoder, never a panic, in the runtime neither.
#[test]
fn a_damaged_encoder_never_panics() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("damaged.onnx");
    let whole = tiny::onnx();
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1 << (byte % 8);
        std::fs::write(&path, &damaged).expect("file");
        let _ = open::open(&path);
    }
}

#[test]
fn a_random_twin_is_another_encoder_of_the_same_shape() {
    let data = dataset(Watch::default());
    let file = EncoderFile::from_bytes(&tiny::onnx()).expect("an encoder");
    let windows = data.windows(16, 8);
    let values = |seed| {
        let twin = open::random_twin(&file, &data, seed).expect("a twin");
        assert_eq!(twin.dim, tiny::DIM);
        twin.embed(&data, &windows).expect("embedded").into_values()
    };
    assert_eq!(values(1), values(1));
    assert_ne!(values(1), values(2));
    let own = opened(&tiny::onnx(), "tiny.onnx").space;
    assert_ne!(
        own.embed(&data, &windows).expect("embedded").into_values(),
        values(1)
    );
    // The centre is the background's mean: embeddings point in all directions.
    let values = values(1);
    for d in 0..tiny::DIM {
        let signs: std::collections::BTreeSet<i8> =
            values.iter().flatten().map(|v| v[d].signum()).collect();
        assert!(signs.contains(&1) && signs.contains(&-1), "dimension {d}");
    }
}

#[test]
fn silence_counts_as_wrong() {
    let mut data = dataset(Watch::default());
    let quiet = data.recordings[0].clone();
    for row in quiet.rows.clone() {
        data.x[2 * row..2 * row + 2].fill(0.0);
    }
    // The tiny encoder has biases: only raw windows are silent, where the background is too.
    let mut background = data.clone();
    background.x.fill(0.0);
    let space = open::plain(Feature::RawWindow, &background, &input()).expect("windows");
    let windows = data.windows(16, 8);
    let embedded = space.embed(&data, &windows).expect("embedded");
    assert_eq!(
        embedded.silent(),
        windows.iter().filter(|w| w.recording == 0).count()
    );
    let right = accuracy(&space, &data, HeadKind::Prototype);
    assert!(right.is_finite() && right < 1.0, "{right}");
}

#[test]
fn streams_find_what_was_taught_and_count_what_was_not() {
    let data = dataset(Watch {
        rows: 600,
        ..Watch::default()
    });
    let space = open::plain(Feature::HandMade, &data, &input()).expect("windows");
    let streams = Streams::new(&data, &space, input(), 2, 3, 0).expect("enough windows");
    let args = <Args as clap::Args>::augment_args(clap::Command::new("evaluate"));
    let args = args.get_matches_from(["evaluate", "tiny.onnx", "tiny.npz", "--ways", "2"]);
    let args = <Args as clap::FromArgMatches>::from_arg_matches(&args).expect("arguments");
    let row = unmeasured(&args, "tiny.npz", &space, HeadKind::Prototype);
    let rows = streams.run(&space, &HeadKind::ALL, &row).expect("streams");
    assert_eq!(rows.len(), HeadKind::ALL.len() - 1, "all but Bayes");
    for row in rows {
        assert_eq!(
            (row.subjects, row.teachings, row.ways),
            (3, stream::TEACHINGS, 2)
        );
        // 4 recordings of each of 3 subjects, 600 rows less the first third and the gap.
        let expected = 12.0 * (600.0 - 200.0 - 16.0) / 50.0 / 3600.0;
        assert!((row.hours - expected).abs() < 1e-9, "{}", row.hours);
        let mean = |figure: stream::Figure| figure.mean.expect("measured");
        assert!(mean(row.found) > 0.9, "{row:?}");
        assert_eq!(mean(row.false_alarms_per_hour_taught), 0.0, "{row:?}");
        // A window, and two hops more for three that agree.
        assert!(mean(row.latency_seconds) >= 32.0 / 50.0 - 1e-9, "{row:?}");
        assert!(mean(row.right_per_recording) > 1.0, "{row:?}");
    }
}

#[test]
fn groups_are_numbers_and_ranges() {
    let groups: Groups = "1,6-8".parse().expect("groups");
    let inside: Vec<u32> = (0..20).filter(|&g| groups.contains(g)).collect();
    assert_eq!(inside, [1, 6, 7, 8]);
    for wrong in ["", "a", "10-6", "1-", "-1", "1,,2", "4294967296"] {
        assert!(wrong.parse::<Groups>().is_err(), "{wrong}");
    }
}

#[test]
fn selection_names_what_is_missing() {
    let data = dataset(Watch::default());
    let names = |list: &[&str]| list.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    let chosen = |classes: &[&str], groups: &str, ways| {
        let groups = groups.parse::<Groups>().expect("groups");
        select(&data, Some(&names(classes)), Some(&groups), ways)
    };
    let kept = chosen(&["TAP", "3"], "1,3", 2).expect("a selection");
    assert!(
        kept.recordings
            .iter()
            .all(|r| [Some(1), Some(3)].contains(&r.class))
    );
    assert_eq!(
        (
            kept.recordings.len(),
            distinct_groups(&kept).into_iter().collect()
        ),
        (4, vec![1, 3])
    );
    let cases = [
        (
            chosen(&["jump"], "1", 2),
            2,
            "there is no class jump; the data has nod, tap, turn, wave",
        ),
        (chosen(&["4"], "1", 2), 2, "there is no class 4"),
        (chosen(&["nod"], "1", 2), 1, "one class only (nod)"),
        (chosen(&["nod", "tap"], "9", 2), 1, "in groups 1, 2, 3"),
        (
            chosen(&["nod", "tap"], "1", 3),
            1,
            "3-way episodes need 3 classes, there are 2",
        ),
    ];
    for (result, code, expected) in cases {
        let failure = result.expect_err("should be refused");
        assert!(failure.to_string().contains(expected), "{failure}");
        assert_eq!(failure.exit_code(), code);
    }
}
