//! Strangers: what heads say of classes that they were not taught.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use headstart::Verdict;
use serde::Serialize;

use super::outcome::Outcome;
use super::table::{Row, percent, width};
use crate::episode::interval;

/// What became of one episode's strangers, and of its queries.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By class: its number, how many were taken for a learnt class, and how many were asked.
    pub strangers: Vec<(u32, u16, u16)>,
    /// Queries of learnt classes.
    pub known: u32,
    /// Of these, how many were taken for a learnt class, the right one or another.
    pub accepted: u32,
    /// Answers to queries and strangers.
    pub answers: u32,
    /// Of these, how many were [`Verdict::NotEnoughExamples`].
    pub not_enough: u32,
    /// How well the head's score tells the two apart; `None` where either is missing.
    pub auroc: Option<f64>,
}

impl Tally {
    /// Counts an answer.
    pub fn verdict(&mut self, verdict: Verdict) {
        self.answers += 1;
        self.not_enough += u32::from(verdict == Verdict::NotEnoughExamples);
    }
}

/// The area under the receiver operating characteristic: how often the score of one that is known
/// (true) is above that of one that is not, ties counting half (*The meaning and use of the area
/// under a receiver operating characteristic (ROC) curve*, J. A. Hanley, B. J. McNeil, 1982).
/// `None` unless there are both.
pub fn auroc(mut scores: Vec<(f32, bool)>) -> Option<f64> {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Strangers below, and pairs won, in halves so that ties stay whole.
    let (mut below, mut halves) = (0u64, 0u64);
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let known = tied.iter().filter(|s| s.1).count() as u64;
        let strangers = tied.len() as u64 - known;
        halves += known * (2 * below + strangers);
        below += strangers;
    }
    let known = scores.len() as u64 - below;
    (known > 0 && below > 0).then(|| halves as f64 / (2 * known * below) as f64)
}

/// One head among strangers. All figures are fractions.
#[derive(Clone, Debug, Serialize)]
pub struct OpenRow {
    /// As in the episodes' rows.
    pub dataset: String,
    /// As in the episodes' rows.
    pub encoder: Option<String>,
    /// As in the episodes' rows.
    pub features: &'static str,
    /// As in the episodes' rows.
    pub head: &'static str,
    /// As in the episodes' rows.
    pub protocol: &'static str,
    /// Classes taught.
    pub ways: usize,
    /// Examples of each.
    pub shots: usize,
    /// The false accepts that were asked for, of heads that can promise them.
    pub rate: f64,
    /// Strangers that were taken for a learnt class, pooled over all episodes.
    pub false_accepts: f64,
    /// The 95 % interval of that over the strangers' classes, low and high; `None` where there is
    /// one class only.
    pub false_accepts_ci95: Option<(f64, f64)>,
    /// Queries of learnt classes that were taken for a learnt class.
    pub accepted: f64,
    /// Answers, of either, that were "not enough examples"; they accept nobody.
    pub not_enough: f64,
    /// Episodes with at least one such answer.
    pub not_enough_episodes: f64,
    /// The mean over the episodes.
    pub auroc: Option<f64>,
    /// Classes of strangers.
    pub stranger_classes: usize,
    /// Episodes that it was measured over.
    pub episodes: usize,
    /// For tables.
    #[serde(skip)]
    pub name: String,
}

impl OpenRow {
    /// Sums up what `row` names; `None` where there were no strangers.
    pub fn new(row: &Row, rate: f32, outcomes: &[Outcome]) -> Option<OpenRow> {
        let tallies = || outcomes.iter().map(|o| &o.open);
        let strangers = || tallies().flat_map(|t| &t.strangers);
        let each = strangers().flat_map(|&(class, accepted, asked)| {
            (0..asked).map(move |i| (class, f64::from(u8::from(i < accepted))))
        });
        let sum = |of: fn(&Tally) -> u32| tallies().map(|t| f64::from(of(t))).sum::<f64>();
        let asked: f64 = strangers().map(|s| f64::from(s.2)).sum();
        let taken: f64 = strangers().map(|s| f64::from(s.1)).sum();
        let areas: Vec<f64> = tallies().filter_map(|t| t.auroc).collect();
        let share = |part: f64, whole: f64| part / whole.max(1.0);
        (asked > 0.0).then(|| OpenRow {
            dataset: row.dataset.clone(),
            encoder: row.encoder.clone(),
            features: row.features,
            head: row.head,
            protocol: row.protocol,
            ways: row.ways,
            shots: row.shots,
            // Through decimal digits: 0.05 and not 0.05000000074505806.
            rate: rate.to_string().parse().unwrap_or(f64::from(rate)),
            false_accepts: taken / asked,
            false_accepts_ci95: interval(each),
            accepted: share(sum(|t| t.accepted), sum(|t| t.known)),
            not_enough: share(sum(|t| t.not_enough), sum(|t| t.answers)),
            not_enough_episodes: share(sum(|t| u32::from(t.not_enough > 0)), outcomes.len() as f64),
            auroc: (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64),
            stranger_classes: strangers()
                .filter(|s| s.2 > 0)
                .map(|s| s.0)
                .collect::<BTreeSet<u32>>()
                .len(),
            episodes: outcomes.len(),
            name: row.name.clone(),
        })
    }

    fn cell(&self) -> (&str, usize, usize) {
        (self.protocol, self.ways, self.shots)
    }
}

/// The table for people.
pub fn text(rows: &[OpenRow]) -> String {
    let mut text = String::new();
    for block in rows.chunk_by(|a, b| a.cell() == b.cell()) {
        let Some(first) = block.first() else { continue };
        let (protocol, ways, shots) = first.cell();
        let _ = writeln!(
            text,
            "\nstrangers, {protocol}, {ways}-way, {shots}-shot: {} episodes, {} classes that were not taught\n\
             auto and bayes may accept {} % of them where the encoder is calibrated; the other heads promise no rate",
            first.episodes,
            first.stranger_classes,
            whole(first.rate)
        );
        let width = width(block.iter().map(|r| r.name.as_str()));
        let _ = writeln!(
            text,
            "{:width$}  {:<9}  false accepts %  [95 %]           known accepted %  not enough examples %  in episodes %  AUROC %",
            "features", "head"
        );
        for row in block {
            let interval = match row.false_accepts_ci95 {
                Some((low, high)) => format!("[{}, {}]", whole(low), whole(high)),
                None => "n/a".to_owned(),
            };
            let _ = writeln!(
                text,
                "{:width$}  {:<9}  {:>15}  {interval:<15}  {:>16}  {:>21}  {:>13}  {:>7}",
                row.name,
                row.head,
                whole(row.false_accepts),
                whole(row.accepted),
                whole(row.not_enough),
                whole(row.not_enough_episodes),
                percent(row.auroc, false),
            );
        }
    }
    text
}

fn whole(fraction: f64) -> String {
    percent(Some(fraction), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(known: &[f32], strangers: &[f32]) -> Option<f64> {
        let known = known.iter().map(|&s| (s, true));
        auroc(known.chain(strangers.iter().map(|&s| (s, false))).collect())
    }

    #[test]
    fn the_area_is_the_chance_that_the_known_is_ahead() {
        assert_eq!(area(&[2.0, 3.0], &[0.0, 1.0]), Some(1.0));
        assert_eq!(area(&[0.0, 1.0], &[2.0, 3.0]), Some(0.0));
        // Of four pairs 3 > 1, 3 > 2 and 1.5 > 1 are won, 1.5 > 2 is not.
        assert_eq!(area(&[3.0, 1.5], &[1.0, 2.0]), Some(0.75));
        // Ties are halves: 1 = 1, 1 < 2, 3 > 1, 3 > 2.
        assert_eq!(area(&[1.0, 3.0], &[1.0, 2.0]), Some(0.625));
        assert_eq!(area(&[1.0; 5], &[1.0; 3]), Some(0.5));
        assert_eq!(area(&[1.0], &[]), None);
        assert_eq!(area(&[], &[1.0]), None);
    }

    #[test]
    fn strangers_are_pooled_over_episodes() {
        let outcome = |strangers, not_enough| Outcome {
            open: Tally {
                strangers,
                known: 10,
                accepted: 9,
                answers: 14,
                not_enough,
                auroc: Some(0.5),
            },
            ..Outcome::default()
        };
        let outcomes = [
            outcome(vec![(7, 1, 4), (8, 0, 0)], 0),
            outcome(vec![(7, 1, 4), (9, 4, 4)], 7),
        ];
        let row = OpenRow::new(&Row::default(), 0.05, &outcomes).expect("strangers");
        assert_eq!(row.false_accepts, 0.5);
        // Class 7 alone gives 1/4, class 9 alone 1.
        assert_eq!(row.false_accepts_ci95, Some((0.25, 1.0)));
        assert_eq!((row.rate, row.accepted), (0.05, 0.9));
        assert_eq!((row.not_enough, row.not_enough_episodes), (0.25, 0.5));
        assert_eq!((row.stranger_classes, row.episodes), (2, 2));
        let nobody = [outcome(vec![], 0)];
        assert!(OpenRow::new(&Row::default(), 0.05, &nobody).is_none());
    }
}
