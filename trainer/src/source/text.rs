//! Lines of text as tokens.
//!
//! A view of a line has some of its words hidden: *BERT*, Devlin et al., 2019, hides them to be told; a
//! contrast takes what is left to mean the same.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Kind, Source};
use crate::tokens::{FIRST, MASK, Tokenizer};
use headstart::frontend::settings::Settings as FrontEnd;

/// The part of a view's tokens that is hidden.
const HIDDEN: f32 = 0.2;

/// Lines in memory.
pub struct Texts {
    tokenizer: Tokenizer,
    length: usize,
    lines: Vec<String>,
    /// [lines, length].
    ids: Vec<u32>,
    /// Of each line, which file it is of.
    files: Vec<u32>,
}

impl Texts {
    /// Lines, `length` tokens of each; `files` says which file each is of. The tokenizer learns a
    /// WordPiece vocabulary of so many tokens from them; 0 takes bytes.
    ///
    /// # Errors
    /// No vocabulary can be learnt.
    pub fn new(
        lines: Vec<String>,
        files: Vec<u32>,
        length: usize,
        vocabulary: usize,
    ) -> anyhow::Result<Self> {
        let tokenizer = match vocabulary {
            0 => Tokenizer::bytes(),
            _ => Tokenizer::train(&lines, vocabulary)?,
        };
        let mut ids = Vec::with_capacity(lines.len() * length);
        for line in &lines {
            ids.extend(tokenizer.encode(line, length)?);
        }
        Ok(Texts {
            tokenizer,
            length,
            lines,
            ids,
            files,
        })
    }

    fn line(&self, i: usize) -> &[u32] {
        &self.ids[i * self.length..][..self.length]
    }
}

impl Source for Texts {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, self.length]
    }

    fn len(&self) -> usize {
        self.lines.len()
    }

    fn plain(&self, i: usize, out: &mut [f32]) {
        for (out, &id) in out.iter_mut().zip(self.line(i)) {
            *out = id as f32;
        }
    }

    fn view(
        &self,
        i: usize,
        _second: bool,
        _common: ChaCha8Rng,
        mut private: ChaCha8Rng,
        out: &mut [f32],
    ) {
        for (out, &id) in out.iter_mut().zip(self.line(i)) {
            let hidden = private.random::<f32>() < HIDDEN && id >= FIRST;
            *out = if hidden { MASK as f32 } else { id as f32 };
        }
    }

    fn group(&self, i: usize) -> u32 {
        self.files.get(i).copied().unwrap_or(0)
    }

    fn class(&self, _i: usize) -> Option<usize> {
        None
    }

    fn labels(&self) -> &[String] {
        &[]
    }

    fn next(&self, i: usize) -> Option<usize> {
        let next = i + 1;
        (next < self.len() && self.group(next) == self.group(i)).then_some(next)
    }

    fn pair(&self, first: usize, second: usize, out: &mut [f32]) {
        let lines = (&self.lines[first], &self.lines[second]);
        // Lines that were encoded once are encoded again.
        let ids = self.tokenizer.encode_pair(lines.0, lines.1, self.length);
        for (out, id) in out.iter_mut().zip(ids.unwrap_or_default()) {
            *out = id as f32;
        }
    }

    fn vocabulary(&self) -> usize {
        self.tokenizer.vocabulary()
    }

    fn tokenizer(&self) -> Option<String> {
        self.tokenizer.json().ok()
    }

    fn frontend(&self) -> Option<FrontEnd> {
        None
    }
}
