//! What the demo found out.

use core::fmt;

use crate::{Board, data};

/// A line for each figure; whole numbers only, as printing floats takes more flash than learning.
pub struct Report {
    /// Queries asked.
    pub queries: u32,
    /// Queries whose exercise was named right.
    pub right: u32,
    /// Queries that the learner did not want to name.
    pub unknown: u32,
    /// Whether forgetting a class and learning it again gave the same statistics, to the bit.
    pub relearnt: bool,
    /// Whether a learner that lost its RAM came back with the same statistics, to the bit.
    pub restored: bool,
    /// Digest of the statistics.
    pub statistics: heapless::String<64>,
    /// Digest of the statistics and of all predictions.
    pub digest: heapless::String<64>,
    /// Bytes that what was learnt takes.
    pub state_bytes: usize,
    /// Of the slowest embedding, in `unit`.
    pub embed: u32,
    /// Of the slowest learned example, embedding included.
    pub learn: u32,
    /// Of the slowest prediction, embedding included, and fitting the head in the first.
    pub predict: u32,
    unit: &'static str,
}

impl Report {
    pub(crate) fn new<B: Board>(state_bytes: usize) -> Self {
        Report {
            queries: 0,
            right: 0,
            unknown: 0,
            relearnt: false,
            restored: false,
            statistics: heapless::String::new(),
            digest: heapless::String::new(),
            state_bytes,
            embed: 0,
            learn: 0,
            predict: 0,
            unit: B::UNIT,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taught, again) = (data::SUPPORT.len(), data::SUPPORT[0]);
        let same = |same| if same { "same" } else { "OTHER" };
        writeln!(f, "subject      {}", data::SUBJECT)?;
        writeln!(f, "taught       {taught} windows, one at a time")?;
        let (relearnt, restored) = (same(self.relearnt), same(self.restored));
        writeln!(f, "relearnt     {again}: {relearnt} statistics as before")?;
        writeln!(
            f,
            "restored     after a reset: {restored} statistics as before"
        )?;
        writeln!(f, "right        {} of {} queries", self.right, self.queries)?;
        writeln!(
            f,
            "unknown      {} of {} queries",
            self.unknown, self.queries
        )?;
        writeln!(f, "statistics   {}", self.statistics)?;
        writeln!(f, "digest       {}", self.digest)?;
        writeln!(f, "pack         {} bytes", data::PACK.len())?;
        writeln!(f, "arena        {} bytes", data::ARENA_WORDS * 4)?;
        writeln!(f, "state        {} bytes", self.state_bytes)?;
        writeln!(f, "embed        {} {}", self.embed, self.unit)?;
        writeln!(f, "learn        {} {}", self.learn, self.unit)?;
        writeln!(f, "predict      {} {}", self.predict, self.unit)
    }
}
