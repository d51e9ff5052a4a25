//! Teaches a frozen encoder three exercises that it has never seen, and asks it about them.
//!
//!     cargo run --release --example teach             # in words
//!     cargo run --release --example teach -- --json   # one JSON object
//!
//! The encoder (models/watch.pack) was pretrained without labels on five people doing four other
//! exercises. Here five other people do three new ones. models/data/watch/README.md has the
//! protocol.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use headstart::digest::Digest;
use headstart::head::Head;
use headstart::learner::LearnerError;
use headstart::{
    Embedding, Encoder, EncoderPack, Evidence, Label, Learner, PackedEncoder, PrototypeHead,
    Statistics,
};

#[path = "watch/score.rs"]
mod score;
mod watch;
use score::{Score, SplitMix64};
use watch::{Cell, SHOTS, SUBJECT, Watch, Window};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/data/watch/unseen.npz");
static PACK: &[u8] = headstart::include_pack!("../models/watch.pack");

const WAYS: usize = 3;
/// Queries of each class in an episode.
const QUERIES: usize = 15;
const EPISODES: usize = 600;
const SEED: u64 = 1;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        ["--help" | "-h"] => {
            println!("usage: cargo run --release --example teach [-- --json]");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("error: unknown argument: {}", arguments.join(" "));
            eprintln!("usage: cargo run --release --example teach [-- --json]");
            return ExitCode::from(2);
        }
    };
    match run(json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(json: bool) -> Result<()> {
    let watch = Watch::load(Path::new(DATA))
        .map_err(|fault| format!("{fault}\nThe file is part of the repository: restore it."))?;
    let cells = watch.same_wearer();
    check(&cells)?;
    let demonstration = demonstrate(&watch, &cells)?;
    let measured = measure(&watch, &cells)?;
    if json {
        print_json(&demonstration, &measured);
    } else {
        print_words(&watch, &cells, &demonstration, &measured);
    }
    Ok(())
}

/// Every lesson finds its windows.
fn check(cells: &[Cell]) -> Result<()> {
    let filled = |cell: &Cell| cell.support.len() >= SHOTS && !cell.query.is_empty();
    let whole = |own: &[Cell]| own.len() == WAYS && own.iter().all(filled);
    let by_subject = || cells.chunk_by(|a, b| a.subject == b.subject);
    if by_subject().all(whole) && by_subject().any(|own| own[0].subject == SUBJECT) {
        Ok(())
    } else {
        let need = format!("{WAYS} exercises of subject {SUBJECT} and of each other one");
        Err(format!("{DATA}: this example needs {need}, {SHOTS} windows to learn each").into())
    }
}

/// What one watch did, as its firmware would.
struct Demonstration {
    before: LearnerError,
    right: usize,
    queries: usize,
    relearnt: bool,
    statistics: String,
    digest: String,
    dim: usize,
    pack_bytes: usize,
    arena_bytes: usize,
    state_bytes: usize,
    learn_us: f64,
    predict_us: f64,
}

/// Teaches one subject's exercises one example at a time, forgets one exercise, learns it again,
/// and asks about the rest of the recordings.
fn demonstrate(watch: &Watch, cells: &[Cell]) -> Result<Demonstration> {
    let pack = EncoderPack::new(PACK)?;
    let mut arena = vec![0u32; pack.arena_bytes() / 4];
    let mut words = vec![0i32; Statistics::words(pack.dim(), WAYS)];
    let mut labels = [const { Label::new() }; WAYS];
    let mut embedding = vec![0i8; pack.dim()];
    let encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena)?;
    let statistics = Statistics::new(pack.dim(), pack.artefact(), &mut words, &mut labels)?;
    let state_bytes = statistics.state_bytes();
    let head = PrototypeHead::new(pack.background());
    let mut learner = Learner::new(encoder, statistics, head, &mut embedding)?;

    let (support, query) = watch::lesson(cells);
    let name = |class: usize| watch.labels[class].as_str();
    let first = watch.counts(support[0].1);
    let before = match learner.predict(first) {
        Err(nothing) => nothing,
        Ok(_) => return Err("a watch that was taught nothing made a prediction".into()),
    };

    let mut learn_us = Vec::new();
    for &(class, window) in &support {
        let start = Instant::now();
        learner.learn(name(class), watch.counts(window))?;
        learn_us.push(microseconds(start));
    }
    let taught = Digest::new(learner.statistics()).hex();
    let (again, _) = support[0];
    learner.forget_class(name(again))?;
    for &(class, window) in support.iter().filter(|(class, _)| *class == again) {
        learner.learn(name(class), watch.counts(window))?;
    }
    let relearnt = Digest::new(learner.statistics()).hex() == taught;

    let (mut right, mut predict_us) = (0, Vec::new());
    let mut digest = Digest::new(learner.statistics());
    for &(class, window) in &query {
        let start = Instant::now();
        let prediction = learner.predict(watch.counts(window))?;
        predict_us.push(microseconds(start));
        digest.query(&prediction);
        right += usize::from(prediction.label == name(class));
    }
    Ok(Demonstration {
        before,
        right,
        queries: query.len(),
        relearnt,
        statistics: taught.to_string(),
        digest: digest.hex().to_string(),
        dim: pack.dim(),
        pack_bytes: pack.bytes().len(),
        arena_bytes: pack.arena_bytes(),
        state_bytes,
        learn_us: median(learn_us),
        predict_us: median(predict_us),
    })
}

fn microseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What 600 lessons say, each with windows of its own.
struct Measured {
    accuracy: Score,
    /// Taught two exercises, shown the third: how often it said "unknown".
    stranger_unknown: Score,
    /// Taught the same two, shown one of them: how often it said "unknown".
    known_unknown: Score,
}

/// Episodes on embeddings that were computed once.
fn measure(watch: &Watch, cells: &[Cell]) -> Result<Measured> {
    let pack = EncoderPack::new(PACK)?;
    let embeddings = embed(&pack, watch, cells)?;
    let subjects: Vec<&[Cell]> = cells.chunk_by(|a, b| a.subject == b.subject).collect();
    let mut random = SplitMix64(SEED);
    let (mut accuracy, mut stranger, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..EPISODES {
        let own = subjects[random.below(subjects.len())];
        let mut ways: Vec<Way> = own
            .iter()
            .map(|cell| Way::draw(cell, &mut random))
            .collect();
        let subject = own[0].subject;
        let ask = |taught: &[Way], asked: &[Way]| answers(&pack, &embeddings, taught, asked);
        accuracy.push((subject, ask(&ways, &ways)?.right));
        let last = ways.len() - 1;
        ways.swap(random.below(last + 1), last);
        let (taught, left_out) = ways.split_at(last);
        stranger.push((subject, ask(taught, left_out)?.unknown));
        known.push((subject, ask(taught, taught)?.unknown));
    }
    Ok(Measured {
        accuracy: Score::over(&accuracy),
        stranger_unknown: Score::over(&stranger),
        known_unknown: Score::over(&known),
    })
}

type Embeddings = BTreeMap<Window, Vec<i8>>;

fn embed(pack: &EncoderPack<'_>, watch: &Watch, cells: &[Cell]) -> Result<Embeddings> {
    let mut arena = vec![0u32; pack.arena_bytes() / 4];
    let mut encoder: PackedEncoder = PackedEncoder::new(*pack, &mut arena)?;
    let mut embeddings = Embeddings::new();
    for &window in cells.iter().flat_map(|c| c.support.iter().chain(&c.query)) {
        let mut values = vec![0; pack.dim()];
        encoder.embed(watch.counts(window).into(), &mut values)?;
        embeddings.insert(window, values);
    }
    Ok(embeddings)
}

/// One class of an episode.
struct Way {
    name: Label,
    support: Vec<Window>,
    query: Vec<Window>,
}

impl Way {
    fn draw(cell: &Cell, random: &mut SplitMix64) -> Way {
        // The name only has to tell the classes apart.
        let mut name = Label::new();
        let _ = name.push((b'a' + cell.class as u8) as char);
        Way {
            name,
            support: random.draw(&cell.support, SHOTS),
            query: random.draw(&cell.query, QUERIES),
        }
    }
}

/// Shares of the queries of one episode.
struct Answers {
    right: f64,
    unknown: f64,
}

fn answers(
    pack: &EncoderPack<'_>,
    embeddings: &Embeddings,
    taught: &[Way],
    asked: &[Way],
) -> Result<Answers> {
    let mut words = vec![0; Statistics::words(pack.dim(), WAYS)];
    let mut labels = [const { Label::new() }; WAYS];
    let mut statistics = Statistics::new(pack.dim(), [0; 32], &mut words, &mut labels)?;
    for way in taught {
        for window in &way.support {
            statistics.learn(&way.name, Embedding::new(&embeddings[window])?)?;
        }
    }
    let mut head = PrototypeHead::new(pack.background());
    let evidence = Evidence {
        statistics: &statistics,
        samples: None,
    };
    head.fit(evidence)?;
    let (mut right, mut unknown, mut queries) = (0, 0, 0);
    for (way, window) in asked
        .iter()
        .flat_map(|w| w.query.iter().map(move |q| (w, q)))
    {
        let prediction = head
            .predict(evidence, Embedding::new(&embeddings[window])?)
            .ok_or(LearnerError::NothingLearnt)?;
        right += usize::from(prediction.label == way.name);
        unknown += usize::from(!prediction.is_known());
        queries += 1;
    }
    let share = |count: usize| count as f64 / f64::from(queries);
    Ok(Answers {
        right: share(right),
        unknown: share(unknown),
    })
}

fn print_words(watch: &Watch, cells: &[Cell], d: &Demonstration, m: &Measured) {
    let people = cells.chunk_by(|a, b| a.subject == b.subject).count();
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let finer = |share: f64| format!("{:.2} %", 100.0 * share);
    let names: Vec<&str> = cells
        .iter()
        .filter(|c| c.subject == SUBJECT)
        .map(|c| in_words(&watch.labels[c.class]))
        .collect();
    println!(
        "A watch with a frozen encoder: {} bytes, pretrained without labels on other people doing \
         other exercises.\n",
        d.pack_bytes
    );
    println!(
        "Before   asked what the wearer does, it says: \"{}\"",
        d.before
    );
    println!(
        "Taught   {} (exercises it has never seen), {SHOTS} examples of 2.56 s each",
        names.join(", ")
    );
    println!(
        "After    subject {SUBJECT}: {} of {} windows from the rest of the recordings named right",
        d.right, d.queries
    );
    println!(
        "         {people} subjects, {EPISODES} such lessons: {} +- {} right (95 %; +- {} over \
         subjects), chance {}",
        finer(m.accuracy.mean),
        finer(m.accuracy.ci95),
        finer(m.accuracy.ci95_groups),
        percent(1.0 / WAYS as f64)
    );
    println!(
        "Unknown  taught two and shown the third, it says \"unknown\" to {}, and wrongly to {} of \
         the two it knows",
        percent(m.stranger_unknown.mean),
        percent(m.known_unknown.mean)
    );
    let same = if d.relearnt {
        "the same bits"
    } else {
        "OTHER BITS"
    };
    println!("Forgets  one exercise and learns it again: {same} as before");
    println!(
        "Costs    {} bytes of state, {} bytes of working memory, {:.0} us to learn an example and \
         {:.0} us to predict, on this machine",
        d.state_bytes, d.arena_bytes, d.learn_us, d.predict_us
    );
    println!("Digest   {}", d.digest);
    println!("         the same on a microcontroller: firmware-examples/qemu/run");
}

fn in_words(label: &str) -> &str {
    match label {
        "ER" => "external rotation",
        "TRAP" => "trapezius extension",
        "ROW" => "upright row",
        other => other,
    }
}

fn print_json(d: &Demonstration, m: &Measured) {
    let chance = 1.0 / WAYS as f64;
    let score = |name: &str, s: &Score| {
        format!(
            "\"{name}\":{:.6},\"{name}_ci95\":{:.6},\"{name}_ci95_groups\":{:.6}",
            s.mean, s.ci95, s.ci95_groups
        )
    };
    println!(
        "{{\"ways\":{WAYS},\"shots\":{SHOTS},\"episodes\":{EPISODES},\"seed\":{SEED},\
         \"protocol\":\"same wearer\",\"head\":\"prototype\",\
         \"accuracy\":{:.6},\"ci95\":{:.6},\"ci95_groups\":{:.6},\"chance\":{chance:.6},\
         {},{},\"relearnt_to_the_bit\":{},\"demo_right\":{},\"demo_queries\":{},\"dim\":{},\
         \"state_bytes\":{},\"arena_bytes\":{},\"pack_bytes\":{},\"learn_us\":{:.1},\
         \"predict_us\":{:.1},\"statistics\":\"{}\",\"digest\":\"{}\"}}",
        m.accuracy.mean,
        m.accuracy.ci95,
        m.accuracy.ci95_groups,
        score("unknown_when_untaught", &m.stranger_unknown),
        score("unknown_when_taught", &m.known_unknown),
        d.relearnt,
        d.right,
        d.queries,
        d.dim,
        d.state_bytes,
        d.arena_bytes,
        d.pack_bytes,
        d.learn_us,
        d.predict_us,
        d.statistics,
        d.digest
    );
}
