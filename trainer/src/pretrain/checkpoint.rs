//! A training run on disk: parameters, optimiser moments and the step, so that it can go on to the
//! same bits. Random numbers need no state: they are named by the step.
//!
//! ```text
//! "headstart-checkpoint-2\n"  u32 length, header (JSON)  u64 length, model  u64 length, optimiser  sha256 of all before
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail};
use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::settings::Settings;
use super::training::Model;
use crate::files;
use crate::report::Epoch;
use crate::source::Kind;

const MAGIC: &[u8] = b"headstart-checkpoint-2\n";

/// What a checkpoint says about its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// It fits this run only.
    pub settings: Settings,
    /// What the data is.
    pub kind: Kind,
    /// Of the data file, in hexadecimal.
    pub data_sha256: String,
    /// Sums may depend on how work is split.
    pub threads: usize,
    /// Steps that are done.
    pub step: u64,
    /// Sum over this epoch's steps so far of the loss, then of each task's own.
    pub sums: Vec<f64>,
    /// Epochs that are done.
    pub epochs: Vec<Epoch>,
    /// Seconds that were spent.
    pub seconds: f64,
}

/// Writes a checkpoint: beside the old one, then over it.
///
/// # Errors
/// The file can't be written.
pub fn save(
    path: &Path,
    header: &Header,
    model: &Model,
    optimiser: &ModuleOptimizer,
) -> anyhow::Result<()> {
    let json = serde_json::to_vec(header)?;
    let model = model.clone().into_record().into_bytes()?;
    let optimiser = optimiser.into_bytes()?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend(json);
    for part in [&model[..], &optimiser[..]] {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    files::write(path, &bytes)
}

/// Reads a checkpoint into `model` and `optimiser`.
///
/// # Errors
/// No such file, a damaged one, or one of another run; the message names what differs.
pub fn load(
    path: &Path,
    expected: &Header,
    model: Model,
    optimiser: ModuleOptimizer,
) -> anyhow::Result<(Header, Model, ModuleOptimizer)> {
    if !path.exists() {
        bail!(
            "there is no checkpoint {}: leave out --resume to start anew",
            path.display()
        );
    }
    let bytes = files::read(path)?;
    let damaged = || {
        format!(
            "{} is damaged or no checkpoint of this version: delete it and start anew",
            path.display()
        )
    };
    let found = Checkpoint::parse(&bytes).with_context(damaged)?;
    compare(&found.header, expected)
        .with_context(|| format!("{} is of another run", path.display()))?;
    let model = model.try_load_record(found.model).with_context(damaged)?;
    Ok((found.header, model, optimiser.load_record(found.optimiser)))
}

/// What a file holds.
pub struct Checkpoint {
    /// Of which run, and how far.
    pub header: Header,
    /// The parameters.
    pub model: ModuleRecord,
    /// The optimiser's moments.
    pub optimiser: OptimizerRecord,
}

impl Checkpoint {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// Damaged, or of another version.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Checkpoint> {
        let (json, model, optimiser) = split(bytes).context("it is no whole checkpoint")?;
        let bytes = |part: &[u8]| Bytes::from_bytes_vec(part.to_vec());
        Ok(Checkpoint {
            header: serde_json::from_slice(json)?,
            model: ModuleRecord::from_bytes(bytes(model))?,
            optimiser: OptimizerRecord::from_bytes(bytes(optimiser))?,
        })
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (body, digest) = bytes.split_last_chunk::<32>()?;
    if Sha256::digest(body)[..] != digest[..] {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (json, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (model, rest) = part(rest)?;
    let (optimiser, rest) = part(rest)?;
    rest.is_empty().then_some((json, model, optimiser))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// Refuses to go on with other settings, data or threads.
fn compare(found: &Header, expected: &Header) -> anyhow::Result<()> {
    let [was, is] =
        [found, expected].map(|header| BTreeMap::from_iter(header.settings.flags(header.kind)));
    let value = |flags: &BTreeMap<String, String>, flag: &str| {
        flags
            .get(flag)
            .map_or("not given", String::as_str)
            .to_owned()
    };
    let all: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let mut differences: Vec<String> = all
        .into_iter()
        .filter(|&flag| was.get(flag) != is.get(flag))
        .map(|flag| {
            format!(
                "{flag} was {} and is {}",
                value(&was, flag),
                value(&is, flag)
            )
        })
        .collect();
    if found.threads != expected.threads {
        differences.push(format!(
            "--threads was {} and is {}",
            found.threads, expected.threads
        ));
    }
    if found.data_sha256 != expected.data_sha256 {
        differences.push("the data has changed".into());
    }
    if !differences.is_empty() {
        bail!(
            "{}: resume with what it began with, or delete it",
            differences.join(", ")
        );
    }
    Ok(())
}
