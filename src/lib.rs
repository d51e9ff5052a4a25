//! **Pretrain once. Teach it anywhere.** A frozen encoder does the seeing; a head learns the
//! user's own classes from a handful of labels, on the device, without forgetting and without a
//! network.
//!
//! This crate is the device side: `no_std`, no allocator, no panic on outside bytes.
//!
//! ```text
//!  signal ─> frontend ─> encoder ─> embedding ─┬─ learn ──> statistics ──> head ─┐
//!            raw signal  int8 pack  int8, D    └─ predict ───────────────────────┴─> prediction, or "unknown"
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`pack`] | [`EncoderPack`]: the bytes of an encoder, checked once, then read in place |
//! | [`encoder`] | the trait [`Encoder`], and [`PackedEncoder`], which runs a pack in an arena that the caller gives |
//! | [`ops`] | one file a layer kind; integers only |
//! | [`quantize`] | fixed-point requantisation |
//! | [`frontend`] | raw signal (sensor, picture, sound) to encoder input, the same bits on host and device |
//! | [`embedding`] | the one embedding space: centred, L2 norm 127, int8 |
//! | [`statistics`], [`samples`] | the two kinds of evidence: exact sums, and the examples themselves |
//! | [`head`] | from evidence to a prediction, one file and one paper each |
//! | [`regression`] | numbers, and several labels at once, from the same kind of exact sums |
//! | [`learner`] | [`Learner`]: encoder + evidence + head, what a firmware author meets |
//! | [`observe`] | learning without labels: what was seen since, what to ask about, and whether inputs drift |
//! | [`stream`] | windows out of a running sensor, and detections out of predictions |
//! | [`store`] | [`SampleLog`]: samples in flash, through any power cut |
//! | [`digest`] | the SHA-256 that two machines compare |
//! | `signed` | feature `signed`: packs and heads that only the holder of a key can have made |
//! | `sealed` | feature `sealed`: heads and packs that only the holders of a key can read |
//! | `wire` | feature `wire`: teaching over a serial line or TCP |
//! | `onnx` | features `tract` and `ort`, on Linux: the encoder's `.onnx` itself behind the same trait |
//!
//! ```no_run
//! use headstart::{EncoderPack, Learner, PackedEncoder, PrototypeHead, Statistics};
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let (bytes, window): (&[u8], &[i16]) = (&[], &[]);
//! let pack = EncoderPack::new(bytes)?;
//! let mut arena = [0u32; 2048];
//! let encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena)?;
//!
//! let mut words = [0i32; Statistics::words(64, 8)];
//! let mut labels = [const { headstart::Label::new() }; 8];
//! let statistics = Statistics::new(pack.dim(), pack.artefact(), &mut words, &mut labels)?;
//!
//! let mut embedding = [0i8; 64];
//! let mut learner = Learner::new(encoder, statistics, PrototypeHead::new(pack.background()), &mut embedding)?;
//! learner.learn("row", window)?;
//! let prediction = learner.predict(window)?;
//! # let _ = prediction;
//! # Ok(())
//! # }
//! ```
#![no_std]
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("packs are little-endian and read in place");

#[cfg(any(test, feature = "onnx"))]
extern crate std;

/// The README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(any(feature = "signed", feature = "sealed"))]
mod content;
pub mod digest;
pub mod embedding;
pub mod encoder;
pub mod frontend;
pub mod head;
pub mod learner;
pub mod observe;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
pub mod pack;
pub mod quantize;
pub mod regression;
pub mod samples;
#[cfg(feature = "sealed")]
pub mod sealed;
#[cfg(feature = "signed")]
pub mod signed;
pub mod statistics;
pub mod store;
pub mod stream;
#[cfg(feature = "wire")]
pub mod wire;

pub use embedding::Embedding;
pub use encoder::{Encoder, PackedEncoder};
pub use head::{
    AutoHead, BayesHead, Evidence, Head, KnnHead, MlpHead, Prediction, PrototypeHead, RidgeHead,
    SldaHead, SoftmaxHead, Verdict,
};
pub use learner::Learner;
pub use observe::Observations;
pub use pack::{Artefact, EncoderPack};
pub use regression::{NormalEquations, RegressionHead};
pub use samples::Samples;
pub use statistics::{Label, SampleId, Statistics};
pub use store::SampleLog;
