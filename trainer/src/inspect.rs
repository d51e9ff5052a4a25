//! `headstart inspect`: what is in a file, before it is trusted, trained on or flashed.

mod npz;
mod onnx;
mod pack;
mod plan;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use headstart::pack::MAGIC;
use serde_json::Value;

use crate::error::Outcome;
use crate::files;

/// Show what a .pack, .onnx, .npz or .csv file holds
///
/// A pack: layers, multiply-accumulates, flash and memory, with the memory plan drawn. An encoder's
/// .onnx: layers, parameters and metadata. A data file: shape, classes, groups and recordings. The
/// file is checked from end to end; a damaged one is named and the exit code is 1.
#[derive(clap::Args)]
#[command(after_help = "Example: headstart inspect models/watch.pack")]
pub struct Args {
    /// The file: .pack, .onnx, .npz or .csv
    file: PathBuf,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// What was found: lines for people, one object for machines.
struct Findings {
    text: String,
    json: Value,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let findings = findings(&args.file)?;
    if args.json {
        println!("{}", findings.json);
    } else {
        print!("{}", findings.text);
    }
    Ok(())
}

/// What `inspect` prints of the bytes of a pack or of an encoder's `.onnx`.
///
/// # Errors
/// A damaged file, or another.
pub fn text(bytes: &[u8]) -> anyhow::Result<String> {
    let found = match bytes.starts_with(&MAGIC) {
        true => pack::findings(bytes)?,
        false => onnx::findings(bytes)?,
    };
    Ok(found.text)
}

/// The bytes say what the file is; its name decides where they don't.
fn findings(path: &std::path::Path) -> anyhow::Result<Findings> {
    ensure!(
        !path.is_dir(),
        "{} is a folder; give a .pack, .onnx, .npz or .csv file",
        path.display()
    );
    let bytes = files::read(path)?;
    let extension = |e| path.extension().is_some_and(|own| own == e);
    if bytes.starts_with(b"PK\x03\x04") || extension("npz") || extension("csv") {
        return Ok(npz::findings(&crate::dataset::Dataset::load(path)?));
    }
    let found = if bytes.starts_with(&MAGIC) || extension("pack") {
        pack::findings(&bytes)
    } else {
        onnx::findings(&bytes)
    };
    found.with_context(|| format!("could not read {}", path.display()))
}

/// Lowercase hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// 12,345: digits in threes.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns as wide as their longest entry, two spaces apart; those of `right` stand to the right.
fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let longest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(longest).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            line += &match right.contains(&column) {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The head of a table.
fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

/// Height, width and channels as `4x5x64`, without a height of 1.
fn shape(sides: [usize; 3]) -> String {
    match sides {
        [1, 1, channels] => channels.to_string(),
        [1, width, channels] => format!("{width}x{channels}"),
        [height, width, channels] => format!("{height}x{width}x{channels}"),
    }
}

/// Kernel, stride and the rest of a sliding window, as far as they say something.
struct Sliding {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: [usize; 2],
    groups: usize,
}

impl Sliding {
    fn text(&self) -> String {
        let pair = |[height, width]: [usize; 2]| match height {
            1 => width.to_string(),
            _ => format!("{height}x{width}"),
        };
        let mut text = format!("kernel {}", pair(self.kernel));
        if self.stride != [1, 1] {
            text += &format!(", stride {}", pair(self.stride));
        }
        if self.dilation != [1, 1] {
            text += &format!(", dilation {}", pair(self.dilation));
        }
        match self.pad {
            [0, 0] => {}
            [0, left] => text += &format!(", pad {left}"),
            [top, left] => text += &format!(", pad {top}x{left}"),
        }
        if self.groups > 1 {
            text += &format!(", groups {}", self.groups);
        }
        text
    }
}
