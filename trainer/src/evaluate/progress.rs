//! How far a long step has come, on stderr: a bar on a terminal, else a line every few seconds.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two plain lines; a step that is shorter stays silent.
const EVERY: Duration = Duration::from_secs(2);

/// The progress of one step.
pub struct Progress {
    what: String,
    bar: ProgressBar,
    plain: bool,
    said: Mutex<Instant>,
}

impl Progress {
    /// Starts a step of `total` pieces.
    pub fn new(what: impl Into<String>, total: usize) -> Progress {
        let (what, plain) = (what.into(), !std::io::stderr().is_terminal());
        let bar = ProgressBar::new(total as u64);
        let template = "{msg} {bar:30} {pos}/{len} {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.clone());
        Progress {
            what,
            bar,
            plain,
            said: Mutex::new(Instant::now()),
        }
    }

    /// A step that nobody needs to hear of.
    pub fn silent() -> Progress {
        Progress {
            what: String::new(),
            bar: ProgressBar::hidden(),
            plain: false,
            said: Mutex::new(Instant::now()),
        }
    }

    /// So many pieces more are done.
    pub fn add(&self, pieces: usize) {
        self.bar.inc(pieces as u64);
        if !self.plain {
            return;
        }
        if let Ok(mut said) = self.said.lock()
            && said.elapsed() >= EVERY
        {
            *said = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("{}: {done} of {total}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
