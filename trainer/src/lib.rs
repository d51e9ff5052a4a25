//! The host side of headstart: from unlabelled recordings to an encoder that a device runs.
//!
//! ```text
//! dataset ─> pretrain (pretext, network, augment) ─> export ─> encoder.onnx ─> quantize ─> pack ─> encoder.pack
//!                                                                  └─> evaluate, inspect <──────────────┘
//! ```

pub mod augment;
pub mod background;
pub mod bench;
pub mod dataset;
pub mod embed;
pub mod embedder;
pub mod encoder_file;
pub mod episode;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod features;
pub mod files;
pub mod float;
pub mod graph;
pub mod head;
pub mod import;
pub mod inspect;
pub mod items;
pub mod keys;
pub mod network;
pub mod on_error;
pub mod pack;
pub mod plan;
pub mod pretext;
pub mod pretrain;
pub mod quantize;
pub mod report;
pub mod sign;
pub mod source;
pub mod spool;
pub mod study;
pub mod teach;
pub mod tokens;

/// What the tests of several modules run on, the binary's among them.
#[cfg(test)]
#[path = "../tests/tiny/mod.rs"]
mod tiny;
