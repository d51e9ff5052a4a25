//! What to do about what can't be read, and what was left out for it.

use std::fmt;
use std::path::Path;

use crate::inspect::thousands;

/// What to do about a thing that can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnError {
    /// Stop, and say what is wrong
    #[default]
    Stop,
    /// Leave it out, and count it
    Skip,
}

/// What was left out, in one line; the reason for the first is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    counts: Vec<Count>,
    first: Option<String>,
}

/// Of things of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    what: &'static str,
    skipped: usize,
    of: usize,
}

impl Skipped {
    /// `skipped` of `of` things, which are called `what`; `first` is the reason for the first.
    pub fn new(what: &'static str, skipped: usize, of: usize, first: Option<String>) -> Skipped {
        let count = Count { what, skipped, of };
        Skipped {
            counts: vec![count],
            first,
        }
    }

    /// Both counts together; the first reason is that of `self` where there is one.
    pub fn and(mut self, other: Skipped) -> Skipped {
        for count in other.counts {
            match self.counts.iter_mut().find(|c| c.what == count.what) {
                Some(own) => {
                    own.skipped += count.skipped;
                    own.of += count.of;
                }
                None => self.counts.push(count),
            }
        }
        self.first = self.first.or(other.first);
        self
    }

    /// The same, with the reason for the first beginning with the file that it was in.
    pub fn named(mut self, path: &Path) -> Skipped {
        self.first = self.first.map(|why| format!("{}: {why}", path.display()));
        self
    }

    /// How many things were left out.
    pub fn count(&self) -> usize {
        self.counts.iter().map(|c| c.skipped).sum()
    }

    /// Why the first was left out; `None` where nothing was.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |c: &Count| {
            let (skipped, of) = (thousands(c.skipped), thousands(c.of));
            format!("{skipped} of {of} {}", c.what)
        };
        let counts = self.counts.iter().filter(|c| c.skipped > 0).map(text);
        let counts: Vec<String> = counts.collect();
        match counts.is_empty() {
            true => f.write_str("skipped nothing")?,
            false => write!(f, "skipped {}", counts.join(" and "))?,
        }
        match &self.first {
            Some(first) => write!(f, "; the first: {first}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_is_one_line() {
        let none = Skipped::new("pictures", 0, 12, None);
        assert_eq!(none.to_string(), "skipped nothing");
        let one = Skipped::new("pictures", 1, 10_000, Some("a.png: is cut short".into()));
        let text = "skipped 1 of 10,000 pictures; the first: a.png: is cut short";
        assert_eq!(one.to_string(), text);
        let rows = Skipped::new("rows", 3, 40, Some("row 7".into()));
        let files = Skipped::new("files", 1, 2, None);
        let all = rows.clone().and(files).and(rows);
        let text = "skipped 6 of 80 rows and 1 of 2 files; the first: row 7";
        assert_eq!((all.to_string().as_str(), all.count()), (text, 7));
    }
}
