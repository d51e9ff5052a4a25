use super::*;
use crate::dataset::Recording;

/// Recordings of the given lengths, one a subject, class and wrist.
fn data(subjects: u32, classes: usize, length: impl Fn(u32, usize, u8) -> usize) -> Dataset {
    let mut recordings: Vec<Recording> = Vec::new();
    let mut end = 0;
    for group in 0..subjects {
        for class in 0..classes {
            for side in 0..2u8 {
                let rows = end..end + length(group, class, side);
                end = rows.end;
                let id = recordings.len() as u32;
                let (class, side) = (Some(class), Some(side));
                recordings.push(Recording {
                    rows,
                    class,
                    group,
                    id,
                    side,
                });
            }
        }
    }
    Dataset {
        channels: 1,
        x: vec![0.0; end],
        scale: None,
        rate_hz: None,
        recordings,
        labels: (0..classes).map(|c| format!("class-{c}")).collect(),
        sha256: [0; 32],
    }
}

/// Lengths that have nothing to do with one another, from 600 to 1,400 rows.
fn uneven(group: u32, class: usize, side: u8) -> usize {
    600 + (group as usize * 7919 + class * 104_729 + usize::from(side) * 1_299_709) % 800
}

fn rows(sampler: &Sampler, windows: &[Vec<usize>], cut: Cut) -> BTreeSet<usize> {
    let rows = |&i: &usize| {
        let start = sampler.windows()[i].start;
        start..start + cut.length
    };
    windows.iter().flatten().flat_map(rows).collect()
}

/// Whose windows the support begins with.
fn teacher(data: &Dataset, sampler: &Sampler, episode: &Episode) -> u32 {
    let window = sampler.windows()[episode.support[0][0]];
    data.recordings[window.recording].group
}

#[test]
fn support_and_queries_never_share_a_sample() {
    for protocol in Protocol::WEARERS {
        for (seed, hop) in [(0, 32), (1, 1), (2, 50), (3, 200)] {
            let cut = Cut {
                hop,
                ..Cut::default()
            };
            let data = data(4, 5, uneven);
            let sampler = Sampler::new(&data, protocol, cut);
            for episode in sampler.episodes(3, 2, 50, seed).expect("enough windows") {
                let support = rows(&sampler, &episode.support, cut);
                let query = rows(&sampler, &episode.query, cut);
                assert!(support.is_disjoint(&query), "{protocol}, hop {hop}");
                let (teacher, asked) = (teacher(&data, &sampler, &episode), episode.groups[0][0]);
                assert_eq!(teacher == asked, protocol == Protocol::SameWearer);
                assert!(episode.groups.iter().flatten().all(|&g| g == asked));
                for (sets, subject) in [(&episode.support, teacher), (&episode.query, asked)] {
                    for (&class, windows) in episode.classes.iter().zip(sets) {
                        let distinct: BTreeSet<_> = windows.iter().collect();
                        assert_eq!(distinct.len(), windows.len(), "drawn twice");
                        for &window in windows {
                            let r = &data.recordings[sampler.windows()[window].recording];
                            assert_eq!((r.group, r.class), (subject, Some(class)));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn same_wearer_queries_keep_their_distance() {
    let data = data(1, 2, uneven);
    let cut = Cut::default();
    let sampler = Sampler::new(&data, Protocol::SameWearer, cut);
    for (cells, first) in [(&sampler.support, true), (&sampler.query, false)] {
        for &index in cells.values().flatten() {
            let window = sampler.windows()[index];
            let rows = &data.recordings[window.recording].rows;
            let third = rows.start + rows.len() / 3;
            let fits = match first {
                true => window.start + cut.length <= third,
                false => window.start >= third + cut.gap,
            };
            assert!(fits, "window at {} of {rows:?}", window.start);
        }
    }
}

#[test]
fn episodes_are_paired_over_shots() {
    let data = data(3, 4, uneven);
    for protocol in Protocol::ALL {
        let sampler = Sampler::new(&data, protocol, Cut::default());
        let few = sampler.episodes(3, 1, 40, 7).expect("enough windows");
        let more = sampler.episodes(3, 4, 40, 7).expect("enough windows");
        for (few, more) in few.iter().zip(&more) {
            assert_eq!((&few.classes, &few.query), (&more.classes, &more.query));
            assert_eq!(few.strangers, more.strangers);
            for (few, more) in few.support.iter().zip(&more.support) {
                assert!(few.len() == 1 && more.len() == 4 && more.starts_with(few));
            }
        }
        assert_eq!(
            few[..10],
            sampler.episodes(3, 1, 10, 7).expect("enough windows")
        );
        assert_ne!(few, sampler.episodes(3, 1, 40, 8).expect("enough windows"));
    }
}

#[test]
fn every_subject_and_class_has_its_turn() {
    let data = data(5, 4, uneven);
    let sampler = Sampler::new(&data, Protocol::NextWearer, Cut::default());
    let mut pairs = BTreeMap::new();
    let mut classes = BTreeMap::new();
    for episode in sampler.episodes(2, 1, 2000, 0).expect("enough windows") {
        let pair = (teacher(&data, &sampler, &episode), episode.groups[0][0]);
        *pairs.entry(pair).or_insert(0) += 1;
        for class in episode.classes {
            *classes.entry(class).or_insert(0) += 1;
        }
    }
    // 100 of each pair, 1,000 of each class expected; five standard deviations are 49 and 112.
    assert!(
        pairs.len() == 20 && pairs.values().all(|n| (51..150).contains(n)),
        "{pairs:?}"
    );
    assert!(
        classes.len() == 4 && classes.values().all(|n| (888..1112).contains(n)),
        "{classes:?}"
    );
}

/// One embedding for each of `groups` voices and `classes` words.
fn stored(groups: u32, classes: usize) -> Dataset {
    data(groups, classes, |_, _, side| usize::from(side == 0)).filter(|r| !r.rows.is_empty())
}

const ITEM: Cut = Cut {
    length: 1,
    hop: 1,
    gap: 1,
};

#[test]
fn the_groups_of_the_next_are_never_those_that_taught() {
    let data = stored(11, 6);
    let sampler = Sampler::new(&data, Protocol::NextGroup, ITEM);
    let group = |&w: &usize| data.recordings[sampler.windows()[w].recording].group;
    let class = |&w: &usize| data.recordings[sampler.windows()[w].recording].class;
    let mut taught = BTreeMap::new();
    for episode in sampler.episodes(4, 6, 300, 0).expect("enough examples") {
        let support: BTreeSet<u32> = episode.support.iter().flatten().map(group).collect();
        let query: BTreeSet<u32> = episode.query.iter().flatten().map(group).collect();
        // 60 % of 11, and the rest.
        assert_eq!((support.len(), query.len()), (6, 5));
        assert!(support.is_disjoint(&query));
        let groups = episode
            .query
            .iter()
            .map(|ws| ws.iter().map(group).collect());
        assert_eq!(episode.groups, groups.collect::<Vec<Vec<u32>>>());
        for (way, windows) in episode.support.iter().chain(&episode.query).enumerate() {
            let own = Some(episode.classes[way % 4]);
            assert!(windows.iter().all(|w| class(w) == own));
        }
        assert_eq!(episode.strangers.len(), 2, "the two classes that are left");
        for (stranger, windows) in &episode.strangers {
            assert!(!episode.classes.contains(stranger) && windows.len() == STRANGERS);
            let fits = |w| class(w) == Some(*stranger) && query.contains(&group(w));
            assert!(windows.iter().all(fits));
        }
        for group in support {
            *taught.entry(group).or_insert(0) += 1;
        }
    }
    // 164 expected; five standard deviations are 43.
    assert!(taught.len() == 11 && taught.values().all(|n| (121..207).contains(n)));
    let error = sampler.episodes(4, 7, 1, 0).expect_err("6 teach");
    let expected = "6 support examples in the groups of an episode, 7 are needed";
    assert!(error.to_string().contains(expected), "{error}");
    let alone = Sampler::new(&stored(1, 6), Protocol::NextGroup, ITEM);
    assert!(matches!(
        alone.episodes(4, 1, 1, 0),
        Err(EpisodeError::TooFewSubjects { need: 2, .. })
    ));
}

#[test]
fn strangers_that_are_kept_apart_are_never_taught() {
    let data = stored(10, 6);
    for protocol in Protocol::ALL {
        let apart = BTreeSet::from([1, 4]);
        let sampler = Sampler::with_strangers(&data, protocol, ITEM, &apart);
        assert_eq!(sampler.classes(), 4);
        let Ok(episodes) = sampler.episodes(3, 1, 50, 0) else {
            // An item has no first third, and these have one side only.
            let unfit = [Protocol::SameWearer, Protocol::OtherSide];
            assert!(unfit.contains(&protocol), "{protocol}");
            continue;
        };
        for episode in episodes {
            assert!(episode.classes.iter().all(|c| !apart.contains(c)));
            let strangers: Vec<usize> = episode.strangers.iter().map(|s| s.0).collect();
            assert_eq!(strangers, [1, 4]);
        }
    }
}

#[test]
fn what_is_missing_is_said() {
    let data = data(
        2,
        3,
        |group, class, _| if (group, class) == (1, 2) { 900 } else { 1500 },
    );
    let [same, next] = Protocol::WEARERS.map(|p| Sampler::new(&data, p, Cut::default()));
    // A third of 900 rows is 300: windows begin at 0, 32, .. 160 on each of two wrists.
    let short = same.episodes(3, 13, 1, 0).expect_err("12 windows");
    let expected = EpisodeError::TooFewWindows {
        set: "support",
        class: "class-2".into(),
        subject: 1,
        have: 12,
        need: 13,
    };
    assert_eq!(short, expected);
    assert!(same.episodes(3, 12, 1, 0).is_ok());
    assert_eq!(
        same.episodes(4, 1, 1, 0),
        Err(EpisodeError::TooFewClasses { have: 3, need: 4 })
    );
    assert_eq!(same.episodes(3, 0, 1, 0), Err(EpisodeError::Zero));
    assert!(next.episodes(3, 13, 1, 0).is_ok());
    let alone = Sampler::new(
        &data.filter(|r| r.group == 0),
        Protocol::NextWearer,
        Cut::default(),
    );
    let error = alone.episodes(3, 1, 1, 0).expect_err("one subject");
    assert!(matches!(
        error,
        EpisodeError::TooFewSubjects {
            have: 1,
            need: 2,
            ..
        }
    ));
    let unlabelled = Sampler::new(
        &data.filter(|_| false),
        Protocol::SameWearer,
        Cut::default(),
    );
    assert!(unlabelled.episodes(1, 1, 1, 0).is_err());
}

#[test]
fn intervals_are_those_of_the_formulas() {
    let score = Score::over(&[(1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0)]).expect("episodes");
    assert_eq!((score.accuracy, score.episodes), (0.75, 4));
    let deviation = (4.0 * 0.0625f64 / 3.0).sqrt();
    assert!((score.ci95 - 3.182 * deviation / 2.0).abs() < 1e-12);
    // Both subjects have the same mean, so that no draw of them differs.
    assert_eq!(score.ci95_groups, Some(0.0));
    // Subjects of 0 and 1: a quarter of the draws each are all 0 and all 1.
    let apart = Score::over(&[(1, 0.0), (2, 1.0)]).expect("episodes");
    assert_eq!(apart.ci95_groups, Some(0.5));
    let alone = Score::over(&[(1, 0.5)]).expect("episode");
    assert_eq!((alone.ci95, alone.ci95_groups), (f64::INFINITY, None));
    assert_eq!(Score::over(&[]), None);
}

#[test]
fn many_episodes_have_the_normal_interval() {
    let many: Vec<(u32, f64)> = (0..600).map(|i| (1, f64::from(i % 2))).collect();
    let score = Score::over(&many).expect("episodes");
    let deviation = (600.0 * 0.25f64 / 599.0).sqrt();
    assert!((score.ci95 - 1.96 * deviation / 600f64.sqrt()).abs() < 1e-12);
}

#[test]
fn one_side_teaches_and_the_other_is_asked() {
    let data = data(3, 4, |_, _, _| 600);
    let sampler = Sampler::new(&data, Protocol::OtherSide, Cut::default());
    let of = |&w: &usize| &data.recordings[sampler.windows()[w].recording];
    let mut taught = BTreeSet::new();
    for episode in sampler.episodes(3, 5, 60, 0).expect("episodes") {
        let support: BTreeSet<_> = episode
            .support
            .iter()
            .flatten()
            .map(|w| (of(w).group, of(w).side))
            .collect();
        let query: BTreeSet<_> = episode
            .query
            .iter()
            .flatten()
            .map(|w| (of(w).group, of(w).side))
            .collect();
        let (Some(&(who, side)), 1, 1) = (support.first(), support.len(), query.len()) else {
            panic!("{support:?} {query:?}");
        };
        assert_eq!(query.first(), Some(&(who, side.map(|s| 1 - s))));
        assert!(episode.groups.iter().flatten().all(|&g| g == who));
        taught.insert(side);
    }
    assert_eq!(taught.len(), 2, "both sides teach");
}

#[test]
fn groups_are_dealt_anew_where_a_class_lacks_examples() {
    // Class 2 is of two groups only: of ten deals about half have both on one side.
    let data = stored(10, 3).filter(|r| r.class != Some(2) || r.group < 2);
    let sampler = Sampler::new(&data, Protocol::NextGroup, ITEM);
    let episodes = sampler.episodes(3, 1, 100, 0).expect("each can be dealt");
    assert!(
        episodes
            .iter()
            .all(|e| e.query.iter().all(|q| !q.is_empty()))
    );
}

#[test]
fn queries_of_several_groups_count_for_each() {
    // Two episodes of two queries; group 1 is always right, group 2 never.
    let parts = [(1, 1.0), (2, 0.0), (1, 1.0), (2, 0.0)];
    let score = Score::of(&[0.5, 0.5], parts.into_iter()).expect("episodes");
    assert_eq!((score.accuracy, score.ci95), (0.5, 0.0));
    assert_eq!(score.ci95_groups, Some(0.5));
    assert_eq!(interval(parts.into_iter()), Some((0.0, 1.0)));
    assert_eq!(interval([(1, 1.0), (1, 0.0)].into_iter()), None);
}
