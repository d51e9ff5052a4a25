//! Embeddings that somebody computed before: an `.npz` of `headstart embed` or of any script.

use std::path::Path;

use anyhow::{anyhow, ensure};

use super::space::{Features, Input, Source, Space, fixed};
use crate::background::from_classes;
use crate::dataset::Dataset;
use crate::encoder_file::Background;

/// Reads embeddings: x is [items, 1, values].
///
/// # Errors
/// Where the file can't be read or holds recordings.
pub fn load(path: &Path) -> anyhow::Result<Dataset> {
    ensure!(
        !path.is_dir(),
        "{} is a folder; give one .npz file of embeddings",
        path.display()
    );
    let data = Dataset::load(path)?;
    if data.recordings.iter().any(|r| r.rows.len() != 1) {
        return Err(anyhow!(
            "{} has recordings, not embeddings (x is [items, 1, values] in a file of embeddings); recordings need an encoder: headstart evaluate ENCODER DATA",
            path.display()
        ));
    }
    Ok(data)
}

/// How stored embeddings are "cut": each is a window of its own.
pub fn input(data: &Dataset) -> Input {
    Input {
        channels: data.channels,
        window: 1,
        hop: 1,
        rate: 1.0,
    }
}

/// Reads embeddings of as many values as `input` has.
pub fn load_like(path: &Path, input: &Input) -> anyhow::Result<Dataset> {
    let data = load(path)?;
    ensure!(
        data.channels == input.channels,
        "{} has embeddings of {} values, these have {}: they are not of the same encoder",
        path.display(),
        data.channels,
        input.channels
    );
    Ok(data)
}

/// The space that the embeddings of `background` span: its mean is the centre and, where it has
/// labels, examples of one label tell the heads how things vary. Without `trusted` the background
/// is the evaluation's own data, of which no more than the mean may be known.
///
/// # Errors
/// Where all values are 0.
pub fn open(
    path: &Path,
    background: &Dataset,
    trusted: bool,
    notes: &mut Vec<String>,
) -> anyhow::Result<Space> {
    let dim = background.channels;
    let largest = background.x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    ensure!(largest > 0.0, "the background's embeddings are all zeros");
    let step = largest / 32_767.0;
    let known = trusted.then(|| prior(background, notes)).flatten();
    Ok(Space {
        features: Features::Stored,
        encoder: Some(path.display().to_string()),
        runtime: None,
        dim,
        artefact: background.sha256,
        background: known,
        source: Source::Stored {
            step,
            centre: fixed(&mean(background), step).collect(),
        },
    })
}

/// What the labelled rows tell the heads; `None` where there are none.
fn prior(background: &Dataset, notes: &mut Vec<String>) -> Option<Background> {
    let labelled = background.filter(|r| r.class.is_some());
    let (classes, groups): (Vec<usize>, Vec<u32>) = labelled
        .recordings
        .iter()
        .filter_map(|r| Some((r.class?, r.group)))
        .unzip();
    if classes.is_empty() {
        notes.push(
            "the background has no labels: the heads know its mean and nothing else".to_owned(),
        );
        return None;
    }
    let found = from_classes(&labelled.x, &classes, &groups, labelled.channels);
    if found.view().calibration.is_empty() {
        notes.push(
            "the background has too few classes or examples to calibrate heads: no rate of false accepts is promised"
                .to_owned(),
        );
    }
    Some(found)
}

fn mean(data: &Dataset) -> Vec<f32> {
    let rows = data.rows() as f64;
    let column = |d: usize| {
        let values = data.x.iter().skip(d).step_by(data.channels);
        (values.map(|&v| f64::from(v)).sum::<f64>() / rows) as f32
    };
    (0..data.channels).map(column).collect()
}
