//! What a run says while it lasts, on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pretext::quality::Quality;

/// A bar with loss, windows a second and time left, and a line an epoch.
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
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps  {msg}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress { bar, terminal }
    }

    /// After each step.
    pub fn step(&self, loss: f64, windows_per_second: f64) {
        self.bar
            .set_message(format!("loss {loss:.3}  {windows_per_second:.0} windows/s"));
        self.bar.inc(1);
    }

    /// After each epoch.
    pub fn epoch(
        &self,
        epoch: u64,
        epochs: u64,
        loss: f64,
        quality: &Quality,
        windows_per_second: f64,
    ) {
        let Quality {
            alignment,
            uniformity,
            effective_rank,
        } = quality;
        self.say(&format!(
            "epoch {epoch:3}/{epochs}  loss {loss:.3}  alignment {alignment:.3}  uniformity {uniformity:.2}  effective rank {effective_rank:.1}  {windows_per_second:.0} windows/s"
        ));
    }

    /// A line for the user.
    pub fn say(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
