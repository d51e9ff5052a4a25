//! From lines of text to the numbers that a network reads.
//!
//! A tokenizer is kept as the `tokenizer.json` of Hugging Face's tokenizers, so that Python and
//! other languages open what an encoder's metadata holds and get the same ids:
//!
//! ```text
//! "pump 2 on" ── [CLS] pump 2 on [SEP] [PAD] ... ── 2 81 12 40 3 0 ...
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainerBuilder};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Trainer,
};

/// Fills lines up to their length; the network looks past it.
pub const PAD: u32 = 0;
/// Stands for what the vocabulary can't spell.
pub const UNKNOWN: u32 = 1;
/// Begins every line (*BERT*'s classification token).
pub const CLS: u32 = 2;
/// Ends every line, and so separates two.
pub const SEPARATOR: u32 = 3;
/// Hides a token from the network while it is trained.
pub const MASK: u32 = 4;
/// The first id that is a piece of text; those before it are the special tokens above.
pub const FIRST: u32 = 5;

/// The special tokens in the order of their ids.
const SPECIAL: [&str; FIRST as usize] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Splits text into tokens and numbers them.
#[derive(Clone)]
pub struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// One token for each byte of UTF-8, id [`FIRST`] + byte: no vocabulary to train, nothing
    /// unknown, long lines.
    pub fn bytes() -> Self {
        let letters = letters().into_iter().zip(FIRST..);
        let special = SPECIAL.map(String::from).into_iter().zip(0..);
        let vocabulary: BTreeMap<String, u32> = special.chain(letters).collect();
        let level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
            "use_regex": false,
        });
        // Byte pairs of which none is ever merged.
        let model = json!({"type": "BPE", "vocab": vocabulary, "merges": []});
        Self::assemble(model, Value::Null, level.clone(), level)
            .expect("the description above is complete")
    }

    /// WordPiece: frequent words as one token, rare ones in pieces, at most `vocabulary` ids.
    /// Text is lower-cased and loses its accents, and punctuation stands alone, as in *BERT*'s
    /// uncased vocabulary. The same lines in any order give the same tokenizer.
    ///
    /// Sources: *Japanese and Korean Voice Search*, Schuster and Nakajima, 2012; pieces are merged
    /// by frequency as in *Neural Machine Translation of Rare Words with Subword Units*, Sennrich
    /// et al., 2016.
    ///
    /// # Errors
    /// `vocabulary` has no room for a single letter, or the lines hold none.
    pub fn train<S: AsRef<str>>(lines: &[S], vocabulary: usize) -> anyhow::Result<Self> {
        let mut words = Vec::new();
        for line in lines {
            words.extend(split(line.as_ref())?);
        }
        let alphabet = alphabet(&words, vocabulary.saturating_sub(SPECIAL.len()) / 2);
        if alphabet.is_empty() {
            bail!(
                "a vocabulary of {vocabulary} for {} words: no letter fits in",
                words.len()
            );
        }
        // The trainer breaks ties between pairs by their ids, and would give these out in the
        // order of a hash that changes from run to run. So every letter gets its id here, at the
        // start of a word and within one: what has an id keeps it.
        let within = alphabet.iter().map(|c| format!("##{c}"));
        let letters = alphabet.iter().map(char::to_string).chain(within);
        let first = SPECIAL.into_iter().map(String::from).chain(letters);
        let mut trainer = WordPieceTrainerBuilder::new()
            .show_progress(false)
            .vocab_size(vocabulary)
            .special_tokens(first.map(|token| AddedToken::from(token, true)).collect())
            .limit_alphabet(alphabet.len())
            .initial_alphabet(alphabet.into_iter().collect::<HashSet<char>>())
            .build();
        let mut model = WordPiece::default();
        trainer
            .feed(words.iter(), |word| Ok(vec![word.to_string()]))
            .and_then(|()| trainer.train(&mut model))
            .map_err(anyhow::Error::from_boxed)?;
        Self::assemble(
            serde_json::to_value(model)?,
            serde_json::to_value(BertNormalizer::default())?,
            serde_json::to_value(BertPreTokenizer)?,
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        )
    }

    /// A `tokenizer.json` out of its parts.
    fn assemble(
        model: Value,
        normalizer: Value,
        pre_tokenizer: Value,
        decoder: Value,
    ) -> anyhow::Result<Self> {
        let special = |id: u32| json!({"SpecialToken": {"id": SPECIAL[id as usize], "type_id": 0}});
        let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let entry = |id: u32| {
            let token = SPECIAL[id as usize];
            json!({"id": token, "ids": [id], "tokens": [token]})
        };
        let [begin, end] = [CLS, SEPARATOR].map(special);
        let whole = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            // Text that spells out a special token is text.
            "added_tokens": [],
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [begin, text("A"), end],
                "pair": [begin, text("A"), end, text("B"), end],
                "special_tokens": {"[CLS]": entry(CLS), "[SEP]": entry(SEPARATOR)},
            },
            "decoder": decoder,
            "model": model,
        });
        Self::from_json(&whole.to_string())
    }

    /// Opens what [`json`](Self::json) wrote.
    ///
    /// # Errors
    /// It is no `tokenizer.json`, numbers the special tokens otherwise than this module, or leaves
    /// numbers out.
    pub fn from_json(json: &str) -> anyhow::Result<Self> {
        let inner = tokenizers::Tokenizer::from_bytes(json)
            .map_err(anyhow::Error::from_boxed)
            .context("the tokenizer can't be read")?;
        for (id, token) in (0..).zip(SPECIAL) {
            if inner.token_to_id(token) != Some(id) {
                bail!("the tokenizer does not have {token} as its token {id}");
            }
        }
        let tokens = inner.get_vocab(true);
        let mut ids: Vec<u32> = tokens.into_values().collect();
        ids.sort_unstable();
        if ids.iter().zip(0..).any(|(&id, place)| id != place) {
            bail!("the tokenizer's ids have gaps");
        }
        Ok(Tokenizer(inner))
    }

    /// The tokenizer as a `tokenizer.json`, for an encoder's metadata. The same tokenizer gives the
    /// same text.
    ///
    /// # Errors
    /// None that a tokenizer of this module can cause.
    pub fn json(&self) -> anyhow::Result<String> {
        self.0.to_string(false).map_err(anyhow::Error::from_boxed)
    }

    /// How many ids there are.
    pub fn vocabulary(&self) -> usize {
        self.0.get_vocab_size(true)
    }

    /// `length` ids, `[CLS] text [SEP]` and padding. Text that is too long loses its end.
    ///
    /// # Errors
    /// The tokenizer can't split the text, which is none of this module's then.
    pub fn encode(&self, text: &str, length: usize) -> anyhow::Result<Vec<u32>> {
        let mut ids = self.ids(text)?;
        ids.truncate(length.saturating_sub(2));
        Ok(frame(&[&ids], length))
    }

    /// `length` ids, `[CLS] first [SEP] second [SEP]` and padding. Where they are too long, the
    /// longer one loses its end.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_pair(
        &self,
        first: &str,
        second: &str,
        length: usize,
    ) -> anyhow::Result<Vec<u32>> {
        let (mut a, mut b) = (self.ids(first)?, self.ids(second)?);
        let room = length.saturating_sub(3);
        let half = (room / 2).max(room.saturating_sub(a.len().min(b.len())));
        let (longer, shorter) = if a.len() > b.len() {
            (&mut a, &mut b)
        } else {
            (&mut b, &mut a)
        };
        longer.truncate(half);
        shorter.truncate(room - longer.len());
        Ok(frame(&[&a, &b], length))
    }

    fn ids(&self, text: &str) -> anyhow::Result<Vec<u32>> {
        let encoding = self.0.encode_fast(text, false);
        let encoding = encoding.map_err(anyhow::Error::from_boxed)?;
        Ok(encoding.get_ids().to_vec())
    }
}

fn frame(texts: &[&[u32]], length: usize) -> Vec<u32> {
    let mut ids = vec![CLS];
    for text in texts {
        ids.extend_from_slice(text);
        ids.push(SEPARATOR);
    }
    ids.resize(length, PAD);
    ids
}

/// A printable character for each byte, as in *Language Models are Unsupervised Multitask
/// Learners*, Radford et al., 2019: itself where it is one, else the next one from U+0100 on.
fn letters() -> Vec<String> {
    let mut spare = '\u{100}'..;
    (0..=u8::MAX)
        .filter_map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => Some(char::from(byte)),
            _ => spare.next(),
        })
        .map(String::from)
        .collect()
}

/// The words that WordPiece sees.
fn split(line: &str) -> anyhow::Result<Vec<String>> {
    let words = || -> tokenizers::Result<Vec<String>> {
        let mut line = NormalizedString::from(line);
        BertNormalizer::default().normalize(&mut line)?;
        let mut line = PreTokenizedString::from(line);
        BertPreTokenizer.pre_tokenize(&mut line)?;
        let splits = line.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        Ok(splits.into_iter().map(|(word, ..)| word.into()).collect())
    };
    words().map_err(anyhow::Error::from_boxed)
}

/// The `most` frequent characters, in their own order. Rarer ones are unknown to the tokenizer.
fn alphabet(words: &[String], most: usize) -> Vec<char> {
    let mut counts = BTreeMap::<char, usize>::new();
    for letter in words.iter().flat_map(|word| word.chars()) {
        *counts.entry(letter).or_default() += 1;
    }
    let mut letters: Vec<(char, usize)> = counts.into_iter().collect();
    letters.sort_by_key(|&(_, count)| Reverse(count));
    let mut letters: Vec<char> = letters.into_iter().take(most).map(|(c, _)| c).collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<String> {
        let things = ["Pump", "valve", "the motor's fan", "Ventil für Öl"];
        let states = ["starts", "stops", "is starting", "has stopped", "überhitzt"];
        let line = |i: usize| format!("{} {} at {i}:00.", things[i % 4], states[i % 5]);
        (0..200).map(line).collect()
    }

    #[test]
    fn a_byte_is_a_token() {
        let bytes = Tokenizer::bytes();
        assert_eq!(bytes.vocabulary(), 261);
        let every = "\0\n é[PAD]~\u{7f}ÿ日";
        let ids = bytes.encode(every, 40).expect("it encodes");
        let expected = every.bytes().map(|b| FIRST + u32::from(b));
        let mut expected: Vec<u32> = [CLS].into_iter().chain(expected).collect();
        expected.push(SEPARATOR);
        expected.resize(40, PAD);
        assert_eq!(ids, expected);
    }

    #[test]
    fn the_same_lines_give_the_same_words() {
        let mut lines = lines();
        let first = Tokenizer::train(&lines, 120).expect("it trains");
        assert!(first.vocabulary() <= 120);
        let json = first.json().expect("it is text");
        for _ in 0..8 {
            lines.rotate_left(37);
            let again = Tokenizer::train(&lines, 120).expect("it trains");
            assert_eq!(again.json().expect("it is text"), json);
        }
        let read = Tokenizer::from_json(&json).expect("it is read");
        assert_eq!(read.json().expect("it is text"), json);
        for line in &lines {
            let ids = first.encode(line, 64).expect("it encodes");
            assert!(!ids.contains(&UNKNOWN), "{line}: {ids:?}");
            assert_eq!(read.encode(line, 64).expect("it encodes"), ids);
        }
    }

    #[test]
    fn the_json_frames_lines_as_encode_does() {
        for tokenizer in [
            Tokenizer::bytes(),
            Tokenizer::train(&lines(), 150).expect("it trains"),
        ] {
            let alone = tokenizer.0.encode("Pump stops", true).expect("it encodes");
            let ours = tokenizer
                .encode("Pump stops", alone.len())
                .expect("it encodes");
            assert_eq!(ours, alone.get_ids());
            let both = tokenizer.0.encode(("Pump", "the fan stops"), true);
            let both = both.expect("it encodes");
            let ours = tokenizer.encode_pair("Pump", "the fan stops", both.len());
            assert_eq!(ours.expect("it encodes"), both.get_ids());
        }
    }

    #[test]
    fn long_text_is_cut_and_short_lengths_hold() {
        let bytes = Tokenizer::bytes();
        let (long, short) = ("a".repeat(50), "b".repeat(3));
        for length in 0..70 {
            for (a, b) in [(&long, &short), (&short, &long), (&long, &long)] {
                let ids = bytes.encode_pair(a, b, length).expect("it encodes");
                assert_eq!(ids.len(), length);
                let ends = ids.iter().filter(|&&id| id == SEPARATOR).count();
                assert!(length < 3 || ends == 2, "{length}: {ids:?}");
                let text = ids.iter().filter(|&&id| id >= FIRST).count();
                assert_eq!(text, (a.len() + b.len()).min(length.saturating_sub(3)));
            }
            assert_eq!(
                bytes.encode(&long, length).expect("it encodes").len(),
                length
            );
        }
    }

    #[test]
    fn other_numbers_are_refused() {
        assert!(Tokenizer::from_json("{}").is_err());
        let json = Tokenizer::bytes().json().expect("it is text");
        let moved = json.replacen("\"[MASK]\":4", "\"[MASK]\":999", 1);
        let error = Tokenizer::from_json(&moved).err().expect("it is refused");
        assert!(error.to_string().contains("[MASK]"), "{error}");
        let gap = json.replacen(":260", ":999", 1);
        let error = Tokenizer::from_json(&gap).err().expect("it is refused");
        assert!(error.to_string().contains("gaps"), "{error}");
        assert!(Tokenizer::train(&["a"], 6).is_err());
        assert!(Tokenizer::train(&[""], 600).is_err());
    }
}
