//! What a run says while it lasts, on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::{self, Epoch};

/// Columns of the chart.
const CHART: usize = 76;

/// A bar with loss, items a second and time left, and a line an epoch.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// For `steps` steps, of which `done` are behind.
    pub fn new(steps: u64, done: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_position(done);
        let style =
            ProgressStyle::with_template("{prefix}{bar:24} {pos}/{len} steps  {msg}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress { bar, terminal }
    }

    /// After each step; `waiting` is the part of the time in which there was no data.
    pub fn step(&self, loss: f64, items_per_second: f64, waiting: f64) {
        self.bar.set_message(format!(
            "loss {loss:.3}  {items_per_second:.0} items/s  waiting {:.0} %",
            100.0 * waiting
        ));
        self.bar.inc(1);
    }

    /// After each epoch, of so many: on a terminal a chart of all up to now, else a line.
    pub fn epoch(&self, epoch: &Epoch, all: &[Epoch], epochs: u32) {
        if self.terminal {
            self.bar
                .set_prefix(format!("{}\n", report::chart(all, CHART)));
            return;
        }
        let parts = match &epoch.parts[..] {
            [] | [_] => String::new(),
            parts => {
                let part = |(name, loss): &(String, f64)| format!("{name} {loss:.3}");
                let all: Vec<String> = parts.iter().map(part).collect();
                format!(" ({})", all.join(", "))
            }
        };
        self.say(&format!(
            "epoch {:3}/{epochs}  loss {:.3}{parts}  alignment {:.3}  uniformity {:.2}  effective rank {:.1}  {:.0} items/s  waiting {:.0} %",
            epoch.epoch,
            epoch.loss,
            epoch.alignment,
            epoch.uniformity,
            epoch.effective_rank,
            epoch.items_per_second,
            100.0 * epoch.waiting
        ));
    }

    fn say(&self, line: &str) {
        eprintln!("{line}");
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
