//! From answers to rows.

use super::args::Args;
use super::cells::{Answers, Cell};
use super::heads::HeadKind;
use super::open_set::OpenRow;
use super::outcome::Outcome;
use super::reliability::Reliability;
use super::space::Space;
use super::table::{AutoRow, Row};
use super::task::Task;

/// Everything that was measured.
pub struct Measured<'a> {
    /// The call.
    pub args: &'a Args,
    /// What it asked for.
    pub task: &'a Task,
    /// The heads, in the order of the tables.
    pub kinds: &'a [HeadKind],
    /// The table's cells.
    pub cells: &'a [Cell],
    /// Of each space.
    pub answers: &'a [Answers],
}

/// The row of a head on a space in a cell, without figures.
pub fn unmeasured(args: &Args, dataset: &str, space: &Space, kind: HeadKind) -> Row {
    Row {
        dataset: dataset.to_owned(),
        encoder: space.encoder.clone(),
        features: space.features.name(),
        runtime: space.runtime,
        head: kind.name(),
        ways: args.ways,
        chance: 1.0 / args.ways as f64,
        name: space.name(),
        ..Row::default()
    }
}

impl Measured<'_> {
    /// Cell by cell, head by head, so that rivals stand below each other.
    fn each<T>(&self, mut visit: impl FnMut(Row, usize, usize, &[Outcome]) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        for (c, cell) in self.cells.iter().enumerate() {
            for (h, &kind) in self.kinds.iter().enumerate() {
                for (s, (space, answers)) in self.task.spaces.iter().zip(self.answers).enumerate() {
                    let row = Row {
                        protocol: cell.protocol.name(),
                        shots: cell.shots,
                        ..unmeasured(self.args, &self.task.dataset, space, kind)
                    };
                    let own = answers[c].get(h).map_or(&[][..], Vec::as_slice);
                    found.extend(visit(row, c, s, own));
                }
            }
        }
        found
    }

    /// The table.
    pub fn rows(&self) -> Vec<Row> {
        let head = |name: &str| self.kinds.iter().position(|k| k.name() == name);
        self.each(|row, c, s, own| {
            let cell = &self.cells[c];
            let first = head(row.head).and_then(|h| self.answers.first()?.get(c)?.get(h));
            let first = first.map(Vec::as_slice).filter(|_| s > 0);
            let difference = first.and_then(|first| cell.score(own, Some(first)));
            let none = Reliability::default();
            let reliability = own
                .iter()
                .fold(none, |all, one| all.merge(&one.reliability));
            let row = row.score(cell.score(own, None), difference);
            Some(Row {
                ece: reliability.error(),
                ..row
            })
        })
    }

    /// What became of strangers, where there were any.
    pub fn open_set(&self) -> Vec<OpenRow> {
        self.each(|row, _, _, own| OpenRow::new(&row, self.args.false_accepts, own))
    }

    /// The default head against the best of the others, cell by cell and space by space.
    pub fn auto_minus_best(&self) -> Vec<AutoRow> {
        let auto = self.kinds.iter().position(|&k| k == HeadKind::Auto);
        let Some(auto) = auto else { return Vec::new() };
        let mean = |own: &[Outcome]| {
            let sum: f64 = own.iter().map(Outcome::accuracy).sum();
            sum / own.len().max(1) as f64
        };
        let mut found = Vec::new();
        for (c, cell) in self.cells.iter().enumerate() {
            for (space, answers) in self.task.spaces.iter().zip(self.answers) {
                let by_head = self.kinds.iter().zip(&answers[c]);
                let others = by_head.filter(|(k, own)| **k != HeadKind::Auto && !own.is_empty());
                let best = others.max_by(|a, b| mean(a.1).total_cmp(&mean(b.1)));
                let Some((best, others)) = best else { continue };
                let Some(score) = cell.score(&answers[c][auto], Some(others)) else {
                    continue;
                };
                found.push(AutoRow {
                    dataset: self.task.dataset.clone(),
                    encoder: space.encoder.clone(),
                    features: space.features.name(),
                    protocol: cell.protocol.name(),
                    ways: self.args.ways,
                    shots: cell.shots,
                    best: best.name(),
                    difference: score.accuracy,
                    ci95: score.ci95,
                    ci95_groups: score.ci95_groups,
                    episodes: score.episodes,
                    name: space.name(),
                });
            }
        }
        found
    }
}
