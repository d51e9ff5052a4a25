//! Why there are no episodes.

use super::Protocol;

/// Why there are no episodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpisodeError {
    /// The data has too few classes.
    #[error("{need}-way episodes need {need} classes, the data has {have}; ask for fewer ways")]
    TooFewClasses {
        /// Labelled classes in the data.
        have: usize,
        /// The ways asked for.
        need: usize,
    },
    /// The data has too few subjects.
    #[error("the {protocol} protocol needs {need} subjects (array group), the data has {have}")]
    TooFewSubjects {
        /// The protocol.
        protocol: Protocol,
        /// Subjects in the data.
        have: usize,
        /// 1 or 2.
        need: usize,
    },
    /// A subject's recordings of a class are too short.
    #[error(
        "subject {subject} has {have} {set} windows of class {class}, {need} are needed; \
         ask for fewer shots or leave that subject or class out"
    )]
    TooFewWindows {
        /// "support" or "query".
        set: &'static str,
        /// The class's name.
        class: String,
        /// The group.
        subject: u32,
        /// Windows that there are.
        have: usize,
        /// Windows that are needed.
        need: usize,
    },
    /// With this split of the groups a class has too few examples.
    #[error(
        "class {class} has {have} {set} examples in the groups of an episode, {need} are needed; \
         ask for fewer shots or leave that class out"
    )]
    TooFewExamples {
        /// "support" or "query".
        set: &'static str,
        /// The class's name.
        class: String,
        /// Examples that there are.
        have: usize,
        /// Examples that are needed.
        need: usize,
    },
    /// Something was asked for zero times.
    #[error("ways and shots must each be at least 1")]
    Zero,
}
