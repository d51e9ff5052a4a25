//! The structs and numbers that headstart.h declares.

use core::ffi::{c_char, c_void};
use core::mem::MaybeUninit;

use headstart::Label;
use headstart::digest::Digest;

/// `HS_ABI`: counts the changes after which a program has to be compiled again.
pub const ABI: u32 = 1;

/// `HS_LABEL_SIZE`: 16 bytes of name, and zeros behind them.
pub const LABEL_SIZE: usize = 20;

/// `hs_tier`: which sums are kept and which head reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Tier {
    /// Counts and sums; `PrototypeHead`.
    Prototype = 0,
    /// Counts and sums; `AutoHead`.
    Means = 1,
    /// Second moments too; `AutoHead`.
    Gram = 2,
}

impl Tier {
    pub(crate) fn new(number: u32) -> Option<Self> {
        [Tier::Prototype, Tier::Means, Tier::Gram]
            .into_iter()
            .find(|&tier| tier as u32 == number)
    }
}

/// `hs_sizes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sizes {
    /// int16 counts of a window.
    pub window: u32,
    /// Of them in a time step.
    pub channels: u32,
    /// Time steps between two windows of a stream.
    pub hop: u32,
    /// D.
    pub dim: u32,
    /// Directions of the encoder's background, 0 without.
    pub rank: u32,
    /// Bytes for `Config::arena`.
    pub arena: u32,
    /// Bytes for `Config::memory`: the next three and two embeddings.
    pub memory: u32,
    /// Of them the learner itself.
    pub learner: u32,
    /// Of them what was learnt.
    pub state: u32,
    /// Of them what the head works with.
    pub head: u32,
    /// The most that a snapshot can take.
    pub snapshot: u32,
}

/// `hs_config`.
#[repr(C)]
pub struct Config {
    /// The encoder's file.
    pub pack: *const c_void,
    /// Its bytes.
    pub pack_len: usize,
    /// What the learner, the sums and the head lie in.
    pub memory: *mut c_void,
    /// Its bytes.
    pub memory_len: usize,
    /// What the encoder works in.
    pub arena: *mut c_void,
    /// Its bytes.
    pub arena_len: usize,
    /// Classes that there is room for.
    pub max_classes: u32,
    /// A [`Tier`].
    pub tier: u32,
    /// Of strangers, 0 to 0.5; 0 for the default.
    pub false_accepts: f32,
}

/// `hs_prediction`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Prediction {
    /// The class's number in the order of names.
    pub index: u32,
    /// A [`headstart::Verdict`].
    pub verdict: u32,
    /// 0 to 1.
    pub probability: f32,
    /// Ahead of the second, 0 to 1.
    pub margin: f32,
    /// The class's name.
    pub label: [c_char; LABEL_SIZE],
}

/// `hs_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Class {
    /// How many it was learnt from.
    pub examples: u32,
    /// Its name.
    pub label: [c_char; LABEL_SIZE],
}

/// `hs_digest`: 17 words of 8 bytes.
#[repr(C, align(8))]
pub struct RunningDigest {
    pub(crate) tag: u64,
    pub(crate) digest: MaybeUninit<Digest>,
    pub(crate) spare: [u8; 128 - size_of::<Digest>()],
}

/// Ends with zeros.
pub(crate) fn c_label(label: &Label) -> [c_char; LABEL_SIZE] {
    let mut text = [0; LABEL_SIZE];
    for (place, &byte) in text.iter_mut().zip(label.as_bytes()) {
        *place = byte as c_char;
    }
    text
}
