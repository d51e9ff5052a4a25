//! Contract: learning without labels does no harm. On the committed recordings of people whom
//! nothing was tuned on, refining never costs half a point, whatever was observed; asking for labels
//! finds all classes sooner than chance; and a turned sensor shows.

use headstart::head::{Evidence, Head};
use headstart::observe::Refinable;
use headstart::{
    AutoHead, Embedding, Encoder, EncoderPack, Label, Observations, PackedEncoder, SldaHead,
    Statistics,
};
use headstart_tests::{aligned, repository};
use headstart_trainer::dataset::Dataset;
use headstart_trainer::files::Aligned;

/// A window's embedding and where it is from.
struct Seen {
    values: Vec<i8>,
    class: usize,
    person: u32,
    side: usize,
    /// Which third of its recording it lies in; windows across a border are in none.
    third: Option<usize>,
}

/// What heads start from, and what they are asked about.
struct World {
    pack: Aligned,
    seen: Vec<Seen>,
}

impl World {
    /// The unseen exercises as the shipped encoder sees them; `turned` by 90 degrees about x.
    fn load(turned: bool) -> World {
        let bytes = aligned("models/watch.pack");
        let data = Dataset::load(&repository("models/data/watch/unseen.npz")).unwrap();
        let scale = data.scale.clone().unwrap();
        let pack = EncoderPack::new(bytes.bytes()).unwrap();
        let sensor = pack.sensor().unwrap();
        let (length, hop) = (sensor.window, sensor.hop);
        let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
        let mut encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena).unwrap();
        let mut seen = Vec::new();
        for window in data.windows(length, hop) {
            let recording = &data.recordings[window.recording];
            let values = data.window(window.start, length).iter();
            let mut counts: Vec<i16> = values
                .zip(scale.iter().cycle())
                .map(|(v, s)| (v / s).round() as i16)
                .collect();
            if turned {
                for triple in counts.chunks_exact_mut(3) {
                    (triple[1], triple[2]) = (triple[2].saturating_neg(), triple[1]);
                }
            }
            let mut values = vec![0; pack.dim()];
            encoder
                .embed(counts.as_slice().into(), &mut values)
                .unwrap();
            let (start, rows) = (window.start - recording.rows.start, recording.rows.len());
            let (first, last) = (3 * start / rows, 3 * (start + length - 1) / rows);
            seen.push(Seen {
                values,
                class: recording.class.unwrap(),
                person: recording.group,
                side: usize::from(recording.side.unwrap()),
                third: (first == last).then_some(first),
            });
        }
        World { pack: bytes, seen }
    }

    fn pack(&self) -> EncoderPack<'_> {
        EncoderPack::new(self.pack.bytes()).unwrap()
    }

    fn people(&self) -> Vec<u32> {
        distinct(self.seen.iter().map(|s| s.person))
    }

    fn classes(&self) -> Vec<usize> {
        distinct(self.seen.iter().map(|s| s.class))
    }

    /// Window numbers that `wanted` chooses, shuffled.
    fn draw(&self, random: &mut Random, wanted: impl Fn(&Seen) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> = (0..self.seen.len())
            .filter(|&i| wanted(&self.seen[i]))
            .collect();
        random.shuffle(&mut found);
        found
    }

    fn embedding(&self, at: usize) -> Embedding<'_> {
        Embedding::new(&self.seen[at].values).unwrap()
    }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    values
        .collect::<std::collections::BTreeSet<T>>()
        .into_iter()
        .collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

fn evidence<'s>(statistics: &'s Statistics<'s>) -> Evidence<'s> {
    Evidence {
        statistics,
        samples: None,
    }
}

/// Of an episode: who teaches, who is asked, which classes are taught and which are met.
struct Episode {
    support: Vec<(usize, usize)>,
    observed: Vec<usize>,
    query: Vec<(usize, usize)>,
}

/// What a device meets between lessons, of 48 windows.
#[derive(Clone, Copy, Debug)]
enum Met {
    /// The classes that it was taught.
    Taught,
    /// Those, and as many strangers.
    Strangers,
    /// One of those, and as many strangers.
    OneAndStrangers,
    /// Nothing that it was taught.
    NothingTaught,
}

const OBSERVED: usize = 48;

fn episode(world: &World, next: bool, shots: usize, met: Met, random: &mut Random) -> Episode {
    let (mut people, mut classes) = (world.people(), world.classes());
    random.shuffle(&mut people);
    random.shuffle(&mut classes);
    let (teacher, asked) = (people[0], people[usize::from(next)]);
    // All classes are taught, or the last is a stranger.
    let ways = classes.len() - usize::from(!matches!(met, Met::Taught));
    let (taught, strange) = classes.split_at(ways);
    let third = |s: &Seen, person, third| s.person == person && s.third == Some(third);
    let mut support = Vec::new();
    let mut query = Vec::new();
    for &class in taught {
        let own = world.draw(random, |s| s.class == class && third(s, teacher, 0));
        support.extend(own.iter().take(shots).map(|&at| (class, at)));
        let own = world.draw(random, |s| s.class == class && third(s, asked, 2));
        query.extend(own.iter().take(15).map(|&at| (class, at)));
    }
    let seen = match met {
        Met::OneAndStrangers => &taught[..1],
        Met::NothingTaught => &[],
        _ => taught,
    };
    let mut observed = world.draw(random, |s| seen.contains(&s.class) && third(s, asked, 1));
    let strangers = world.draw(random, |s| strange.contains(&s.class) && third(s, asked, 1));
    observed.truncate(OBSERVED - strangers.len().min(OBSERVED / 2));
    observed.extend(strangers.iter().take(OBSERVED - observed.len()));
    random.shuffle(&mut observed);
    Episode {
        support,
        observed,
        query,
    }
}

/// Of the queries, how many are right in a hundred before and after refining.
fn refine(world: &World, episode: &Episode, mut head: impl Refinable) -> (f64, f64) {
    let pack = world.pack();
    let dim = pack.dim();
    let memory = || {
        let words = vec![0; Statistics::gram_words(dim, 3)];
        (words, vec![Label::new(); 3])
    };
    let (mut words, mut labels) = memory();
    let mut labelled =
        Statistics::with_gram(dim, pack.artefact(), &mut words, &mut labels).unwrap();
    for &(class, at) in &episode.support {
        let label = class.to_string();
        labelled.learn(&label, world.embedding(at)).unwrap();
    }
    let mut bytes = vec![0; Observations::bytes(dim, OBSERVED)];
    let mut observations = Observations::new(dim, pack.background(), &mut bytes);
    for &at in &episode.observed {
        observations.observe(world.embedding(at)).unwrap();
    }
    let right = |head: &mut dyn FnMut(Embedding<'_>) -> Label| {
        let right = |&&(class, at): &&(usize, usize)| {
            head(world.embedding(at)).as_str() == class.to_string()
        };
        let right = episode.query.iter().filter(right).count();
        100.0 * right as f64 / episode.query.len() as f64
    };
    head.fit(evidence(&labelled)).unwrap();
    let before = right(&mut |e| head.predict(evidence(&labelled), e).unwrap().label);
    let (mut words, mut labels) = memory();
    let mut refined = Statistics::with_gram(dim, pack.artefact(), &mut words, &mut labels).unwrap();
    observations
        .refine(&mut head, evidence(&labelled), &mut refined, 2)
        .unwrap();
    let after = right(&mut |e| head.predict(evidence(&refined), e).unwrap().label);
    (before, after)
}

/// Accuracy before and after, over many lessons of a kind.
fn refined(world: &World, next: bool, shots: usize, met: Met, slda: bool) -> (f64, f64) {
    const EPISODES: usize = 200;
    let (dim, rank) = (
        world.pack().dim(),
        world.pack().background().map_or(0, |b| b.rank),
    );
    let mut sum = (0.0, 0.0);
    for number in 0..EPISODES {
        let mut random = Random(number as u64);
        let episode = episode(world, next, shots, met, &mut random);
        let background = world.pack().background();
        let (before, after) = if slda {
            let mut words = vec![0.0; SldaHead::words(dim, 3, rank)];
            refine(world, &episode, SldaHead::new(background, &mut words))
        } else {
            let mut words = vec![0.0; AutoHead::words(dim, 3, rank)];
            refine(world, &episode, AutoHead::new(background, &mut words))
        };
        sum = (sum.0 + before, sum.1 + after);
    }
    (sum.0 / EPISODES as f64, sum.1 / EPISODES as f64)
}

#[test]
fn refining_never_costs_half_a_point_and_gains_where_classes_are_met() {
    let world = World::load(false);
    for slda in [false, true] {
        let mut gains = Vec::new();
        for (next, shots) in [(false, 1), (false, 3), (false, 5), (true, 1), (true, 5)] {
            for met in [
                Met::Taught,
                Met::Strangers,
                Met::OneAndStrangers,
                Met::NothingTaught,
            ] {
                let (before, after) = refined(&world, next, shots, met, slda);
                let what = format!("slda {slda}, next {next}, {shots} shots, {met:?}");
                println!("{what}: {before:.2} % -> {after:.2} %");
                assert!(after >= before - 0.5, "{what}: {before} -> {after}");
                if matches!(met, Met::Taught) {
                    gains.push(after - before);
                }
            }
        }
        let gain = gains.iter().sum::<f64>() / gains.len() as f64;
        assert!(gain > 0.0, "slda {slda}: {gains:?}");
    }
}

/// Labels until each exercise on each wrist has one, asked for as suggested or at random.
fn labels_needed(world: &World, suggested: bool, random: &mut Random) -> usize {
    let pack = world.pack();
    let (dim, background) = (pack.dim(), pack.background());
    let (mut people, mut kinds) = (world.people(), Vec::new());
    random.shuffle(&mut people);
    for class in world.classes() {
        kinds.extend([(class, 0), (class, 1)]);
    }
    random.shuffle(&mut kinds);
    let pools: Vec<Vec<usize>> = kinds
        .iter()
        .map(|&kind| {
            world.draw(random, |s| {
                s.person == people[0] && (s.class, s.side) == kind
            })
        })
        .collect();
    // Some are met six times as often as others.
    let meet = |random: &mut Random| {
        let weight: usize = (1..=pools.len()).sum();
        let mut at = random.below(weight);
        let mut kind = 0;
        while at > kind {
            at -= kind + 1;
            kind += 1;
        }
        pools[kind][random.below(pools[kind].len())]
    };
    let mut bytes = vec![0; Observations::bytes(dim, OBSERVED)];
    let mut observations = Observations::new(dim, background, &mut bytes);
    let mut met: Vec<usize> = (0..OBSERVED).map(|_| meet(random)).collect();
    for &at in &met {
        observations.observe(world.embedding(at)).unwrap();
    }
    let mut words = vec![0; Statistics::gram_words(dim, kinds.len())];
    let mut labels = vec![Label::new(); kinds.len()];
    let mut statistics =
        Statistics::with_gram(dim, pack.artefact(), &mut words, &mut labels).unwrap();
    let rank = background.map_or(0, |b| b.rank);
    let mut words = vec![0.0; AutoHead::words(dim, kinds.len(), rank)];
    let mut head = AutoHead::new(background, &mut words);
    for asked in 1..1000 {
        let index = if suggested {
            if statistics.classes() > 0 {
                head.fit(evidence(&statistics)).unwrap();
            }
            let asked = observations.suggest(&mut head, evidence(&statistics));
            asked.unwrap().index
        } else {
            random.below(met.len())
        };
        let at = met.remove(index);
        observations.remove(index);
        let label = format!("{} {}", world.seen[at].class, world.seen[at].side);
        statistics.learn(&label, world.embedding(at)).unwrap();
        if statistics.classes() == kinds.len() {
            return asked;
        }
        met.push(meet(random));
        let newest = world.embedding(met[met.len() - 1]);
        observations.observe(newest).unwrap();
    }
    1000
}

#[test]
fn asking_for_labels_finds_all_classes_sooner_than_chance() {
    const LESSONS: u64 = 100;
    let world = World::load(false);
    let needed = |suggested| {
        let one = |seed| labels_needed(&world, suggested, &mut Random(seed)) as f64;
        (0..LESSONS).map(one).sum::<f64>() / LESSONS as f64
    };
    let (suggested, chance) = (needed(true), needed(false));
    println!(
        "labels until all 6 classes are known: {suggested:.1} suggested, {chance:.1} at random"
    );
    assert!(suggested < 0.8 * chance, "{suggested} {chance}");
}

#[test]
fn a_turned_sensor_drifts() {
    let [straight, turned] = [false, true].map(World::load);
    let drift = |world: &World, person: u32| {
        let (pack, mut random) = (world.pack(), Random(u64::from(person)));
        let background = pack.background();
        let mut bytes = vec![0; Observations::bytes(pack.dim(), OBSERVED)];
        let mut observations = Observations::new(pack.dim(), background, &mut bytes);
        let seen = world.draw(&mut random, |s| s.person == person);
        for &at in seen.iter().take(OBSERVED) {
            observations.observe(world.embedding(at)).unwrap();
        }
        let rank = background.map_or(0, |b| b.rank);
        let mut words = vec![0.0; Observations::drift_words(pack.dim(), rank)];
        observations.drift(&mut words).unwrap()
    };
    for person in straight.people() {
        let (before, after) = (drift(&straight, person), drift(&turned, person));
        println!("subject {person}: drift {before:.2}, sensor turned {after:.2}");
        assert!((0.9..1.2).contains(&before), "{person}: {before}");
        assert!(after > 1.2 && after > before + 0.1, "{person}: {after}");
    }
}
