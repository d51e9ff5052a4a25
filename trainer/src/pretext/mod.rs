//! Pretext tasks: what a network can learn from data that nobody has labelled, and figures that
//! show without labels whether it does.

pub mod contrastive;
pub mod language;
pub mod quality;
