//! The cells of the table, and every head's answers to them.

use anyhow::anyhow;

use super::args::Args;
use super::heads::HeadKind;
use super::outcome::{Outcome, outcomes};
use super::progress::Progress;
use super::select::list;
use super::space::{Embedded, Input, Space};
use super::task::Task;
use crate::episode::{Cut, Episode, Protocol, Sampler, Score};

/// One cell of the table: a protocol and a number of shots. No episodes where there are not
/// enough windows.
#[derive(Clone)]
pub struct Cell {
    /// What separates support from queries.
    pub protocol: Protocol,
    /// k.
    pub shots: usize,
    /// All that are measured.
    pub episodes: Vec<Episode>,
}

impl Cell {
    /// Sums up answers to the cell, or how much better they are than `others`, in the same
    /// episodes.
    pub fn score(&self, own: &[Outcome], others: Option<&[Outcome]>) -> Option<Score> {
        let other = |at: usize| others.map(|others| others.get(at));
        let (mut means, mut parts) = (Vec::new(), Vec::new());
        for (at, (episode, own)) in self.episodes.iter().zip(own).enumerate() {
            let (mean, right) = match other(at) {
                Some(None) => return None,
                Some(Some(other)) => (other.accuracy(), Some(&other.right)),
                None => (0.0, None),
            };
            means.push(own.accuracy() - mean);
            let groups = episode.groups.iter().flatten();
            for (query, (&group, &own)) in groups.zip(&own.right).enumerate() {
                let other = right.and_then(|r| r.get(query)).copied().unwrap_or(false);
                parts.push((group, f64::from(i8::from(own) - i8::from(other))));
            }
        }
        Score::of(&means, parts.into_iter())
    }
}

/// How recordings are cut for an encoder.
pub fn cut(input: &Input) -> Cut {
    Cut {
        length: input.window,
        hop: input.hop,
        gap: input.window,
    }
}

/// Draws the episodes of all cells.
///
/// # Errors
/// Where no cell has any.
pub fn draw(args: &Args, task: &Task, notes: &mut Vec<String>) -> anyhow::Result<Vec<Cell>> {
    let (mut cells, mut reasons) = (Vec::new(), Vec::new());
    for protocol in args.protocols(task.protocols) {
        let cut = cut(&task.input);
        let sampler = Sampler::with_strangers(&task.world, protocol, cut, &task.strangers);
        for shots in args.shots() {
            let drawn = sampler.episodes(args.ways, shots, args.episodes, args.seed);
            let episodes = drawn.unwrap_or_else(|why| {
                reasons.push(format!("{protocol}, {shots}-shot: {why}"));
                Vec::new()
            });
            cells.push(Cell {
                protocol,
                shots,
                episodes,
            });
        }
    }
    if cells.iter().all(|c| c.episodes.is_empty()) {
        return Err(anyhow!("there are no episodes: {}", list(reasons)));
    }
    notes.extend(reasons.into_iter().map(|why| format!("n/a: {why}")));
    Ok(cells)
}

/// What one space answered: by cell, then by head, then by episode; none where the head can't run.
pub type Answers = Vec<Vec<Vec<Outcome>>>;

/// Lets the heads answer all cells in one space.
pub fn answer(
    space: &Space,
    task: &Task,
    cells: &[Cell],
    kinds: &[HeadKind],
    false_accepts: f32,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Embedded, Answers)> {
    let windows = task.world.windows(task.input.window, task.input.hop);
    let embedded = space.embed(&task.world, &windows)?;
    if embedded.silent() > 0 {
        notes.push(format!(
            "{}: {} windows carry no signal and count as wrong",
            space.name(),
            embedded.silent()
        ));
    }
    let able = |kind: HeadKind| space.background.is_some() || kind.runs_without_background();
    let running = kinds.iter().filter(|&&kind| able(kind)).count();
    let episodes = cells.iter().map(|c| c.episodes.len()).sum::<usize>() * running;
    let progress = Progress::new(format!("episodes, {}", space.name()), episodes);
    let mut answers = Answers::new();
    for Cell { episodes, .. } in cells {
        let mut by_head = Vec::new();
        for &kind in kinds {
            by_head.push(match able(kind) {
                true => outcomes(space, &embedded, kind, false_accepts, episodes, &progress)?,
                false => Vec::new(),
            });
        }
        answers.push(by_head);
    }
    Ok((embedded, answers))
}
