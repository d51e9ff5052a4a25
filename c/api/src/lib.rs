//! headstart for C. `include/headstart.h` has the words; this crate has one function for each of
//! its declarations, and [`library!`], which puts them into a static library.
//!
//! Nothing is allocated. A C pointer becomes a reference in `raw` only, after it was checked as far
//! as a pointer can be; what it points to is then as safe as any Rust.
#![no_std]

#[cfg(test)]
extern crate std;

mod digest;
mod export;
mod learner;
mod plan;
mod raw;
mod status;
mod types;

#[doc(hidden)]
pub use core::ffi::{c_char, c_void};
pub use digest::DIGEST_SIZE;
pub use learner::Object;
pub use plan::LEARNER_BYTES;
pub use status::Status;
pub use types::{ABI, Class, Config, LABEL_SIZE, Prediction, RunningDigest, Sizes, Tier};

/// Which parts of headstart a library has.
pub trait Parts {
    /// The layers that an encoder may be made of.
    type Kernels: headstart::ops::Kernels + 'static;
    /// Whether there is `AutoHead` beside `PrototypeHead`.
    const AUTO: bool;
}
