//! The encoder's `.onnx` itself on a Linux board, behind the same [`Encoder`](crate::Encoder) and
//! [`Learner`](crate::Learner) as a pack.
//!
//! Feature `tract` brings [`TractEncoder`], in Rust alone; feature `ort` brings [`OrtEncoder`],
//! which is faster and loads ONNX Runtime's library at run time. Both need std and allocate.
//!
//! ```no_run
//! # #[cfg(feature = "tract")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use headstart::onnx::TractEncoder;
//! use headstart::{Encoder, Label, Learner, PrototypeHead, Statistics};
//!
//! let encoder = TractEncoder::open("models/watch.onnx")?;
//! let background = encoder.info().background.clone();
//! let (dim, artefact) = (encoder.dim(), encoder.artefact());
//! # let window = vec![0i16; encoder.input_len()];
//!
//! let mut words = vec![0; Statistics::words(dim, 8)];
//! let mut labels = vec![Label::new(); 8];
//! let statistics = Statistics::new(dim, artefact, &mut words, &mut labels)?;
//! let head = PrototypeHead::new(background.as_ref().map(|b| b.view()));
//! let mut embedding = vec![0; dim];
//! let mut learner = Learner::new(encoder, statistics, head, &mut embedding)?;
//! learner.learn("row", window.as_slice())?;
//! println!("{}", learner.predict(window.as_slice())?.label);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tract"))]
//! # fn main() {}
//! ```
//!
//! Embeddings end in the same step as a pack's: whole numbers of the file's
//! `headstart.embedding_scale`, less the background's mean, norm 127, int8. Where the file has no
//! scale, a step is 1/65536 of the largest value of the raw embedding and the background's mean;
//! where it has no background, nothing is subtracted. Floats differ from a pack's integers, and in
//! their last bits from runtime to runtime: evidence is bound to the file that it was learnt with,
//! and its digest is not the same on every machine as a pack's is.

mod encoder;
mod encoder_info;
mod error;
#[cfg(feature = "tract")]
mod framework;
mod guard;
mod model;
#[cfg(feature = "ort")]
mod onnxruntime;
#[cfg(feature = "tract")]
mod tract;

pub use encoder::{OnnxEncoder, Options, Runtime};
pub use encoder_info::{Background, EncoderInfo, InfoError, Layout, PREFIX};
pub use error::OnnxError;
#[cfg(feature = "tract")]
pub use framework::framework;
pub use guard::{Panicked, guarded};
#[cfg(feature = "ort")]
pub use onnxruntime::{Library, Ort};
#[cfg(feature = "tract")]
pub use tract::Tract;

/// The oldest ONNX Runtime that is taken, 1.24.
const LEAST_MINOR_VERSION: u32 = 24;

/// An encoder in tract.
#[cfg(feature = "tract")]
pub type TractEncoder = OnnxEncoder<Tract>;

/// An encoder in ONNX Runtime.
#[cfg(feature = "ort")]
pub type OrtEncoder = OnnxEncoder<Ort>;
