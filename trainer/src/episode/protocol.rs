//! Who teaches, who is asked, and how recordings are cut.

use std::fmt;

/// What separates support from queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Both from one subject: support from the first third of each recording, queries from the
    /// rest of it after a gap. Both sides count as one subject.
    SameWearer,
    /// Support from all recordings of one subject, queries from those of another.
    NextWearer,
    /// Support from one side (wrist) of a subject, queries from the other.
    OtherSide,
    /// The groups (voices, images) are dealt anew in each episode, 60 % to the support and the
    /// rest to the queries.
    NextGroup,
}

impl Protocol {
    /// All, in the order of the tables.
    pub const ALL: [Protocol; 4] = [
        Protocol::SameWearer,
        Protocol::NextWearer,
        Protocol::OtherSide,
        Protocol::NextGroup,
    ];
    /// Those for recordings of people who wear a sensor.
    pub const WEARERS: [Protocol; 2] = [Protocol::SameWearer, Protocol::NextWearer];

    /// As the command line and the JSON spell it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::SameWearer => "same-wearer",
            Protocol::NextWearer => "next-wearer",
            Protocol::OtherSide => "other-side",
            Protocol::NextGroup => "next-group",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::SameWearer => "same wearer",
            Protocol::NextWearer => "next wearer",
            Protocol::OtherSide => "other side",
            Protocol::NextGroup => "next group",
        })
    }
}

/// How recordings are cut, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Samples in a window.
    pub length: usize,
    /// Samples from one window's start to the next one's.
    pub hop: usize,
    /// Samples between the first third of a recording and its first query, at least.
    pub gap: usize,
}

impl Default for Cut {
    /// The watch protocol's: 128, 32 and 128.
    fn default() -> Cut {
        Cut {
            length: 128,
            hop: 32,
            gap: 128,
        }
    }
}
