//! Every head, taught and asked the same on any machine. What is learnt comes out of a seeded
//! generator of integers, so there is no file and no sensor: [`digests`] hashes what each head
//! says, [`costs`] measures what that takes.
#![no_std]

mod costs;
mod digests;
mod lesson;
mod line_up;
mod world;

pub use costs::costs;
pub use digests::digests;

use headstart::embedding::ZeroEmbedding;
use headstart::head::FitError;
use headstart::samples::SamplesError;
use headstart::statistics::StatisticsError;

/// D.
pub const DIM: usize = 64;
/// The background's directions.
pub const RANK: usize = 16;
/// Classes taught.
pub const CLASSES: usize = 8;
/// Examples of each.
pub const SHOTS: usize = 5;

/// Why a report ends early.
#[derive(Debug)]
pub enum Fault {
    /// An example without direction.
    Embedding(ZeroEmbedding),
    /// An example that was not learnt.
    Statistics(StatisticsError),
    /// An example that was not kept.
    Samples(SamplesError),
    /// A head that was not fitted.
    Fit(FitError),
    /// The background's calibration is none that a pack could have.
    Calibration,
    /// Nothing was learnt.
    NothingLearnt,
    /// The report could not be printed.
    Print(core::fmt::Error),
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Fault::Embedding(e) => e.fmt(f),
            Fault::Statistics(e) => e.fmt(f),
            Fault::Samples(e) => e.fmt(f),
            Fault::Fit(e) => e.fmt(f),
            Fault::Calibration => f.write_str("the calibration is not usable numbers"),
            Fault::NothingLearnt => f.write_str("nothing was learnt"),
            Fault::Print(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for Fault {}

macro_rules! from {
    ($($error:ty => $variant:ident),+) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Fault::$variant(error)
            }
        }
    )+};
}
from!(ZeroEmbedding => Embedding, StatisticsError => Statistics, SamplesError => Samples, FitError => Fit, core::fmt::Error => Print);
