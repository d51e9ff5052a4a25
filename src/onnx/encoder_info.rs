//! What an encoder's `.onnx` tells the device besides the graph: its metadata under `headstart.`.

use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::frontend::Settings;
use crate::head::calibration::Calibration;

/// What the metadata's keys begin with.
pub const PREFIX: &str = "headstart.";

/// The metadata of an encoder, checked. FORMAT.md has the table.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderInfo {
    /// From a signal to the graph's input.
    pub frontend: Settings,
    /// The order of the graph's input, where its shape leaves it open.
    pub layout: Option<Layout>,
    /// The fixed-point step in which embeddings are normalised: v = round(embedding / step). `None`
    /// where it was not measured.
    pub embedding_step: Option<f32>,
    /// What the encoder saw of the world; `None` where the file has no statistics.
    pub background: Option<Background>,
    /// Names the encoder across its builds.
    pub space_id: [u8; 16],
    /// The other entries, without the prefix: licence, command, seed, ...
    pub provenance: BTreeMap<String, String>,
}

/// The order of a graph's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[channels][height][width]`, as ONNX has it.
    Nchw,
    /// `[height][width][channels]`.
    Nhwc,
}

/// Background statistics; FORMAT.md says what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Background {
    /// The mean raw embedding, D values.
    pub mean: Vec<f32>,
    /// r rows of D: makes both covariances of normalised embeddings diagonal.
    pub projection: Vec<f32>,
    /// r variances within a class, in the projection.
    pub within: Vec<f32>,
    /// r variances between classes, in the projection.
    pub between: Vec<f32>,
    /// The mean squared distance of a normalised embedding (norm 127) from its class's mean.
    pub within_total: f32,
    /// A table of [`LEN`](crate::head::calibration::LEN) values, or none.
    pub calibration: Vec<f32>,
}

/// Why metadata is not that of an encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfoError {
    /// There is no such entry.
    Missing(&'static str),
    /// An entry is not what it should be, and why.
    Damaged(&'static str, String),
}

impl core::fmt::Display for InfoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            InfoError::Missing(key) => write!(
                f,
                "the metadata has no `{PREFIX}{key}`: not written by `headstart pretrain`"
            ),
            InfoError::Damaged(key, why) => {
                write!(f, "the metadata entry `{PREFIX}{key}` is damaged: {why}")
            }
        }
    }
}

impl core::error::Error for InfoError {}

impl EncoderInfo {
    /// Reads a file's metadata; entries without the prefix are somebody else's.
    ///
    /// # Errors
    /// Where there is no front end or space id, or an entry is damaged.
    pub fn from_entries<'e>(
        entries: impl Iterator<Item = (&'e str, &'e str)>,
    ) -> Result<Self, InfoError> {
        let mut entries: BTreeMap<String, String> = entries
            .filter_map(|(key, value)| {
                Some((key.strip_prefix(PREFIX)?.to_owned(), value.to_owned()))
            })
            .collect();
        let frontend = entries
            .remove("frontend")
            .ok_or(InfoError::Missing("frontend"))?;
        let space_id = entries
            .remove("space_id")
            .ok_or(InfoError::Missing("space_id"))?;
        let mut take = |key| entries.remove(key);
        let (total, calibration) = (take("within_total"), take("calibration"));
        let background = take("background")
            .map(|text| Background::parse(&text, total.as_deref(), calibration.as_deref()));
        Ok(EncoderInfo {
            frontend: Settings::parse(&frontend)
                .map_err(|e| InfoError::Damaged("frontend", e.to_string()))?,
            layout: take("layout")
                .map(|text| Layout::parse(&text))
                .transpose()?,
            embedding_step: take("embedding_scale")
                .map(|text| parse_step(&text))
                .transpose()?,
            background: background.transpose()?,
            space_id: parse_hex(&space_id)?,
            provenance: entries,
        })
    }
}

impl Layout {
    fn parse(text: &str) -> Result<Self, InfoError> {
        match text {
            "nchw" => Ok(Layout::Nchw),
            "nhwc" => Ok(Layout::Nhwc),
            _ => Err(InfoError::Damaged(
                "layout",
                "neither `nchw` nor `nhwc`".into(),
            )),
        }
    }
}

impl Background {
    fn parse(
        text: &str,
        within_total: Option<&str>,
        calibration: Option<&str>,
    ) -> Result<Self, InfoError> {
        let damaged = |why: &str| InfoError::Damaged("background", why.into());
        let bytes = STANDARD.decode(text).map_err(|e| damaged(&e.to_string()))?;
        let (head, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| damaged("too short"))?;
        let (dim, rank) = head.split_at(4);
        let size = |b: &[u8]| b.try_into().map_or(0, u32::from_le_bytes) as usize;
        let (dim, rank) = (size(dim), size(rank));
        let values = floats(rest);
        let expected = rank
            .checked_mul(dim)
            .and_then(|n| n.checked_add(dim)?.checked_add(2 * rank));
        if rank == 0 || rank > 32 || Some(values.len()) != expected || rest.len() % 4 != 0 {
            return Err(damaged("its length does not fit its sizes"));
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(damaged("it holds numbers that are not finite"));
        }
        let (mean, rest) = values.split_at(dim);
        let (projection, rest) = rest.split_at(rank * dim);
        let (within, between) = rest.split_at(rank);
        let total = within_total
            .and_then(|t| t.parse::<f32>().ok())
            .filter(|v| v.is_finite() && *v > 0.0);
        Ok(Background {
            mean: mean.to_vec(),
            projection: projection.to_vec(),
            within: within.to_vec(),
            between: between.to_vec(),
            within_total: total.unwrap_or(0.15 * 127.0 * 127.0),
            calibration: calibration.map_or(Ok(Vec::new()), parse_calibration)?,
        })
    }

    /// As heads take it.
    pub fn view(&self) -> crate::pack::Background<'_> {
        crate::pack::Background {
            rank: self.within.len(),
            projection: &self.projection,
            within: &self.within,
            between: &self.between,
            within_total: self.within_total,
            calibration: Calibration::new(&self.calibration).unwrap_or_default(),
        }
    }

    /// The same that a pack lends.
    pub fn of(background: crate::pack::Background<'_>, mean: Vec<f32>) -> Self {
        Background {
            mean,
            projection: background.projection.to_vec(),
            within: background.within.to_vec(),
            between: background.between.to_vec(),
            within_total: background.within_total,
            calibration: background.calibration.table().to_vec(),
        }
    }
}

/// Little-endian, as many as are whole.
fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks();
    chunks.iter().map(|&c| f32::from_le_bytes(c)).collect()
}

fn parse_calibration(text: &str) -> Result<Vec<f32>, InfoError> {
    let damaged = |why: &str| InfoError::Damaged("calibration", why.into());
    let bytes = STANDARD.decode(text).map_err(|e| damaged(&e.to_string()))?;
    let table = floats(&bytes);
    match Calibration::new(&table) {
        Some(_) => Ok(table),
        None => Err(damaged("not a table that heads can use")),
    }
}

fn parse_step(text: &str) -> Result<f32, InfoError> {
    match text.parse::<f32>() {
        Ok(step) if step.is_finite() && step > 0.0 => Ok(step),
        _ => Err(InfoError::Damaged(
            "embedding_scale",
            "not a positive number".into(),
        )),
    }
}

fn parse_hex(text: &str) -> Result<[u8; 16], InfoError> {
    let damaged = || InfoError::Damaged("space_id", "not 32 hexadecimal digits".into());
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(damaged());
    }
    let id = u128::from_str_radix(text, 16).map_err(|_| damaged())?;
    Ok(id.to_be_bytes())
}
