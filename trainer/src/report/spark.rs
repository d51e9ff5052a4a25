//! Curves in block characters, for a terminal.

use super::Epoch;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns before the blocks, and those kept for the numbers behind them.
const NAME: usize = 15;
const NUMBERS: usize = 18;

/// Loss and effective rank over the epochs, in three lines of at most `width` columns (but no
/// fewer than 41): both curves from their lowest to their highest value with the first and the last
/// number behind them, then the epochs. Empty where there are none.
pub fn chart(epochs: &[Epoch], width: usize) -> String {
    let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else {
        return String::new();
    };
    let columns = width.saturating_sub(NAME + NUMBERS).max(8);
    let line = |name: &str, value: fn(&Epoch) -> f64| {
        let values: Vec<f64> = epochs.iter().map(value).collect();
        let blocks = blocks(&values, columns);
        let (from, to) = (short(value(first)), short(value(last)));
        format!("{name:NAME$}{blocks}  {from} → {to}")
    };
    let used = epochs.len().min(columns);
    let (from, to) = (first.epoch.to_string(), last.epoch.to_string());
    let room = used.saturating_sub(from.len());
    let axis = match used > from.len() + to.len() {
        true => format!("{from}{to:>room$}"),
        false => format!("{from} to {to}"),
    };
    [
        line("loss", |e| e.loss),
        line("effective rank", |e| e.effective_rank.into()),
        format!("{:NAME$}{axis}", "epoch"),
    ]
    .join("\n")
}

/// At most five characters.
fn short(value: f64) -> String {
    match value.abs() {
        size if size < 100.0 => format!("{value:.2}"),
        size if size < 1e5 => format!("{value:.0}"),
        _ => format!("{value:.0e}"),
    }
}

/// The mean of each column's values as a block; a space where none is a number.
fn blocks(values: &[f64], columns: usize) -> String {
    let columns = values.len().min(columns);
    let mean = |column: usize| {
        let of = column * values.len() / columns..(column + 1) * values.len() / columns;
        let finite: Vec<f64> = values[of]
            .iter()
            .copied()
            .filter(|v| v.is_finite())
            .collect();
        finite.iter().sum::<f64>() / finite.len() as f64
    };
    let means: Vec<f64> = (0..columns).map(mean).collect();
    let lowest = means.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let block = |mean: &f64| match mean.is_finite() {
        true => {
            let part = (mean - lowest) / (highest - lowest).max(f64::MIN_POSITIVE);
            BLOCKS[((part * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
        }
        false => ' ',
    };
    means.iter().map(block).collect()
}
