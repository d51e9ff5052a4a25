//! `headstart head`: what was learnt, as a file: out of a device and into another, look at it, compare,
//! add up what many devices learnt.
//!
//! A head file is a snapshot of [`Statistics`], as a device writes it
//! ([`Statistics::save`]): it names the encoder file it belongs to, and everything in it is a sum.

mod export;
mod import;
mod log;
mod merge;
pub mod noise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use clap::Subcommand;
use headstart::pack::Artefact;
use headstart::statistics::MAGIC;
use headstart::{Label, Statistics};
use serde_json::{Value, json};
use sha2::Digest;

use crate::error::{Failure, Outcome};
use crate::files;
use crate::keys::hex;

pub use merge::added;

/// Learnt heads as files: export, import, look at them, compare them, add them up
///
/// A head file is a snapshot of a device's statistics (Statistics::save): counts, sums and, in the gram
/// tier, second moments, bound to the encoder file by its SHA-256.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Export(export::Args),
    Import(import::Args),
    /// What a head has learnt
    #[command(after_help = "Example: headstart head inspect my.head")]
    Inspect {
        /// The head
        file: PathBuf,
        /// One JSON object on stdout instead of text
        #[arg(long)]
        json: bool,
    },
    Merge(merge::Args),
    /// What one head has that the other has not; exit code 0 where they are the same, else 1
    #[command(after_help = "Example: headstart head diff yesterday.head today.head")]
    Diff {
        /// A head
        first: PathBuf,
        /// Another
        second: PathBuf,
        /// One JSON object on stdout instead of text
        #[arg(long)]
        json: bool,
    },
}

/// A head in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The encoder file.
    pub artefact: Artefact,
    /// D.
    pub dim: usize,
    /// Count and D sums of each class.
    pub classes: BTreeMap<Label, (i32, Vec<i32>)>,
    /// Second moments, of the gram tier.
    pub gram: Option<Vec<i32>>,
}

impl Head {
    /// Reads a snapshot, with the reader that devices have.
    ///
    /// # Errors
    /// It is none, or damaged.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Head> {
        ensure!(bytes.starts_with(&MAGIC), no_head(bytes));
        ensure!(bytes.len() >= 52, "it is cut short");
        // The fields that say how much room it takes; all else is the device's to check.
        let field = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (gram, dim) = (bytes[10] == 2, usize::from(field(12)));
        let mut artefact = [0; 32];
        artefact.copy_from_slice(&bytes[20..52]);
        // Memory is taken for no more than the file itself holds.
        let least = match gram {
            true => Statistics::gram_snapshot_bytes(dim, field(14).into()),
            false => Statistics::snapshot_bytes(dim, field(14).into()),
        };
        ensure!(bytes.len() >= least, "it is cut short");
        let mut labels = vec![Label::new(); field(14).into()];
        let mut words = match gram {
            true => vec![0; Statistics::gram_words(dim, labels.len())],
            false => vec![0; Statistics::words(dim, labels.len())],
        };
        let mut statistics = match gram {
            true => Statistics::with_gram(dim, artefact, &mut words, &mut labels)?,
            false => Statistics::new(dim, artefact, &mut words, &mut labels)?,
        };
        statistics.restore(bytes)?;
        let class =
            |c: headstart::statistics::Class<'_>| (c.label.clone(), (c.count, c.sums.to_vec()));
        Ok(Head {
            artefact,
            dim,
            classes: statistics.iter().map(class).collect(),
            gram: statistics.gram().map(<[i32]>::to_vec),
        })
    }

    /// The snapshot's bytes, as a device writes them.
    ///
    /// # Errors
    /// What a device would refuse.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        let learnt = u32::try_from(self.examples()).unwrap_or(u32::MAX);
        bytes.extend(1u16.to_le_bytes());
        bytes.extend([if self.gram.is_some() { 2 } else { 1 }, 0]);
        bytes.extend((self.dim as u16).to_le_bytes());
        bytes.extend((self.classes.len() as u16).to_le_bytes());
        bytes.extend(learnt.to_le_bytes());
        bytes.extend(self.artefact);
        for (label, (count, sums)) in &self.classes {
            let mut padded = [0; 16];
            padded[..label.len()].copy_from_slice(label.as_bytes());
            bytes.extend(padded);
            bytes.extend(count.to_le_bytes());
            bytes.extend(sums.iter().flat_map(|v| v.to_le_bytes()));
        }
        bytes.extend(self.gram.iter().flatten().flat_map(|v| v.to_le_bytes()));
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes);
        bytes.extend(crc.to_le_bytes());
        Head::parse(&bytes).context("the sum can't be written")?;
        Ok(bytes)
    }

    fn read(path: &Path) -> anyhow::Result<Head> {
        let bytes = files::read(path)?;
        Head::parse(&bytes).with_context(|| format!("could not read {}", path.display()))
    }

    fn examples(&self) -> i64 {
        self.classes
            .values()
            .map(|(count, _)| i64::from(*count))
            .sum()
    }

    fn tier(&self) -> &'static str {
        if self.gram.is_some() { "gram" } else { "means" }
    }

    fn json(&self) -> serde_json::Map<String, Value> {
        let count =
            |(label, (count, _)): (&Label, &(i32, Vec<i32>))| (label.to_string(), json!(count));
        let classes: serde_json::Map<_, _> = self.classes.iter().map(count).collect();
        let mut object = serde_json::Map::new();
        object.insert("encoder_sha256".into(), json!(hex(&self.artefact)));
        object.insert("dim".into(), json!(self.dim));
        object.insert("tier".into(), json!(self.tier()));
        object.insert("classes".into(), json!(classes));
        object
    }

    /// Refuses a head of another encoder file.
    fn check_encoder(&self, path: &Path, encoder: &Path) -> anyhow::Result<()> {
        let bytes = files::read(encoder)?;
        // What a device runs is the pack without its signature.
        let (bytes, _) = crate::sign::split(&bytes);
        let own: Artefact = sha2::Sha256::digest(bytes).into();
        ensure!(
            own == self.artefact,
            "{} was learnt with the encoder file {}, and {} is {}: their embeddings do not compare (a pack and the \
             .onnx that it was made of are two files)",
            path.display(),
            hex(&self.artefact),
            encoder.display(),
            hex(&own)
        );
        Ok(())
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (examples, classes) = (self.examples(), self.classes.len());
        writeln!(f, "{:<10} {}", "encoder", hex(&self.artefact))?;
        writeln!(
            f,
            "{:<10} {} values; {} tier",
            "embedding",
            self.dim,
            self.tier()
        )?;
        writeln!(f, "{:<10} {examples} of {classes} classes", "examples")
    }
}

/// What a file that is no head is instead, as far as its first bytes say.
fn no_head(bytes: &[u8]) -> &'static str {
    let known = [
        (
            &headstart::sealed::MAGIC,
            "it is sealed: open it with headstart head import --unseal",
        ),
        (
            &headstart::store::MAGIC,
            "it is a log: headstart head export makes a head of it",
        ),
        (&headstart::pack::MAGIC, "it is a pack, no head"),
    ];
    let own = known.iter().find(|(magic, _)| bytes.starts_with(*magic));
    own.map_or("it is no head", |(_, text)| text)
}

/// A result may not take the place of what it was made of.
fn not_over(input: &Path, output: &Path) -> Result<(), Failure> {
    let same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    match same {
        true => Err(Failure::Usage(format!(
            "{} would be overwritten: give another output",
            input.display()
        ))),
        false => Ok(()),
    }
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    match args.command {
        Command::Inspect { file, json } => inspect(&file, json),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Diff {
            first,
            second,
            json,
        } => diff(&first, &second, json),
    }
}

fn inspect(path: &Path, as_json: bool) -> Outcome {
    let head = Head::read(path)?;
    if as_json {
        println!("{}", Value::Object(head.json()));
        return Ok(());
    }
    print!("{head}");
    for (label, (count, _)) in &head.classes {
        println!("  {label:<16} {count}");
    }
    Ok(())
}

fn diff(first: &Path, second: &Path, as_json: bool) -> Outcome {
    let (a, b) = (Head::read(first)?, Head::read(second)?);
    let mut changes = serde_json::Map::new();
    let labels: std::collections::BTreeSet<&Label> =
        a.classes.keys().chain(b.classes.keys()).collect();
    for label in labels {
        let count = |head: &Head| head.classes.get(label).map_or(0, |(count, _)| *count);
        if a.classes.get(label) != b.classes.get(label) {
            changes.insert(label.to_string(), json!([count(&a), count(&b)]));
        }
    }
    let same_encoder = a.artefact == b.artefact && a.dim == b.dim;
    if as_json {
        println!(
            "{}",
            json!({ "same": a == b, "same_encoder": same_encoder, "classes": changes })
        );
    } else {
        if !same_encoder {
            println!("learnt with different encoder files: they can't be added up");
        }
        for (label, counts) in &changes {
            let [was, is] = [0, 1].map(|i| counts[i].as_i64().unwrap_or(0));
            match was == is {
                true => println!("  {label:<16} {was} other examples"),
                false => println!("  {label:<16} {was} -> {is} examples"),
            }
        }
        match (&a.gram, &b.gram) {
            (Some(a), Some(b)) if a != b && changes.is_empty() => println!("other second moments"),
            (Some(_), None) | (None, Some(_)) => {
                println!("one has second moments, the other has none")
            }
            _ => {}
        }
        if a == b {
            println!("the same");
        }
    }
    match a == b {
        true => Ok(()),
        false => Err(anyhow!("the heads differ").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headstart::Embedding;

    pub const D: usize = 12;

    /// What a device that saw `samples` writes.
    pub fn device(samples: &[(&str, [i8; D])]) -> Vec<u8> {
        let mut words = [0; Statistics::gram_words(D, 8)];
        let mut labels = [const { Label::new() }; 8];
        let statistics = Statistics::with_gram(D, [9; 32], &mut words, &mut labels);
        let mut statistics = statistics.expect("the buffers are long enough");
        for (label, values) in samples {
            let e = Embedding::new(values).expect("not zero");
            statistics.learn(label, e).expect("there is room");
        }
        let mut out = vec![0; Statistics::gram_snapshot_bytes(D, 8)];
        let length = statistics.save(&mut out).expect("it is long enough");
        out.truncate(length);
        out
    }

    pub fn samples(count: usize) -> Vec<(&'static str, [i8; D])> {
        let mut rng = crate::augment::stream(1, 98, 0, 0);
        let mut value = || rand::RngExt::random_range(&mut rng, 1..90i8);
        let labels = ["row", "curl", "fly"];
        (0..count)
            .map(|i| (labels[i % 3], std::array::from_fn(|_| value())))
            .collect()
    }

    #[test]
    fn a_short_file_that_claims_much_is_refused_before_memory_is_taken() {
        let mut short = device(&samples(3));
        short[12..14].copy_from_slice(&u16::MAX.to_le_bytes());
        short[14..16].copy_from_slice(&0u16.to_le_bytes());
        let refused = Head::parse(&short).expect_err("its moments would be 8 GB");
        assert_eq!(refused.to_string(), "it is cut short");
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let whole = device(&samples(30));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(Head::parse(&damaged).is_err(), "byte {at}");
            assert!(Head::parse(&whole[..at]).is_err(), "{at} bytes");
        }
    }
}
