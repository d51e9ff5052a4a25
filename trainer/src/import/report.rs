//! What an import says.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::candidates::Candidate;
use super::tidy::Tidied;
use super::verify::Verified;
use super::{Args, Found, Imported, SHOWN};

/// `49 x 10`.
pub fn sizes(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    sizes.join(" x ")
}

/// What could be the embedding, best first.
pub fn list(name: &str, found: &Found, json: bool) -> String {
    let shown = &found.candidates[..found.candidates.len().min(SHOWN)];
    if json {
        #[derive(Serialize)]
        struct List<'l> {
            model: &'l str,
            input: &'l [usize],
            candidates: &'l [Candidate],
        }
        let list = List {
            model: name,
            input: &found.input.sizes,
            candidates: shown,
        };
        return serde_json::to_string(&list).unwrap_or_default() + "\n";
    }
    let mut text = format!(
        "{name}: input {}, what could be the embedding, best first\n",
        sizes(&found.input.sizes)
    );
    let line = |text: &mut String, columns: [&str; 4], name: &str| {
        let [shape, macs, weights, why] = columns;
        let _ = writeln!(text, "{shape:>14}  {macs:>9}  {weights:>8}  {why}");
        if !name.is_empty() {
            let _ = writeln!(text, "{:>16}--embedding \"{name}\"", "");
        }
    };
    line(&mut text, ["values", "MACs", "weights", "what it is"], "");
    for candidate in shown {
        let pool = if candidate.pooled {
            "; takes --pool"
        } else {
            ""
        };
        let columns = [
            sizes(&candidate.shape),
            count(candidate.macs),
            count(candidate.parameters),
            format!("{}{pool}", candidate.why),
        ];
        line(
            &mut text,
            columns.each_ref().map(String::as_str),
            &candidate.name,
        );
    }
    if shown.is_empty() {
        text +=
            "  nothing that all of its output is computed from: name a tensor with --embedding\n";
    }
    text
}

/// `5 MatMul, 4 Relu, Softmax`, in the order in which each came first.
fn counted(operators: &[String]) -> String {
    let mut found: Vec<(&str, usize)> = Vec::new();
    for operator in operators {
        match found.iter_mut().find(|(name, _)| name == operator) {
            Some((_, count)) => *count += 1,
            None => found.push((operator, 1)),
        }
    }
    let text = |&(name, count): &(&str, usize)| match count {
        1 => name.to_owned(),
        _ => format!("{count} {name}"),
    };
    found.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// `2.66 M`.
fn count(n: u64) -> String {
    match n {
        10_000_000_000.. => format!("{:.1} G", n as f64 / 1e9),
        1_000_000.. => format!("{:.2} M", n as f64 / 1e6),
        10_000.. => format!("{:.1} k", n as f64 / 1e3),
        _ => n.to_string(),
    }
}

/// What was done.
#[derive(Serialize)]
pub struct Report {
    model: String,
    output: String,
    sha256: String,
    bytes: usize,
    input: Vec<usize>,
    embedding: Candidate,
    tidied: Tidied,
    /// Operators that were cut off.
    head: Vec<String>,
    /// The largest difference to the file by runtime, relative to the largest value where that is
    /// above 1.
    differences: super::verify::Differences,
    tolerance: f32,
    /// Whether the batch is free; else why not.
    batch: Option<String>,
    /// Why it can't become a pack; none where it can.
    pack: Option<String>,
    /// Runtimes that can't run it.
    refusals: Vec<String>,
}

impl Report {
    pub fn new(
        args: &Args,
        output: &Path,
        imported: &Imported,
        verified: &Verified,
        bytes: &[u8],
    ) -> Report {
        let hex = |b: &u8| format!("{b:02x}");
        Report {
            model: args.model.display().to_string(),
            output: output.display().to_string(),
            sha256: Sha256::digest(bytes).iter().map(hex).collect(),
            bytes: bytes.len(),
            input: imported.input.sizes.clone(),
            embedding: imported.embedding.clone(),
            tidied: imported.tidied.clone(),
            head: imported.head.clone(),
            differences: verified.differences.clone(),
            tolerance: imported.tolerance,
            batch: imported.batch.clone(),
            pack: imported.pack.clone(),
            refusals: verified.refusals.clone(),
        }
    }

    pub fn print(&self, json: bool) -> String {
        match json {
            true => serde_json::to_string(self).unwrap_or_default() + "\n",
            false => self.text(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} -> {}, {} bytes\n", self.model, self.output, self.bytes);
        let mut line = |name: &str, what: String| {
            let _ = writeln!(text, "{name:<11} {what}");
        };
        let batch = if self.batch.is_some() { "" } else { "N x " };
        line("input", format!("{batch}{}", sizes(&self.input)));
        let e = &self.embedding;
        line(
            "embedding",
            format!("`{}`, {} values: {}", e.name, e.values, e.why),
        );
        line(
            "cost",
            format!(
                "{} multiply-accumulates, {} weights",
                count(e.macs),
                count(e.parameters)
            ),
        );
        if !self.head.is_empty() {
            line("cut off", counted(&self.head));
        }
        let done = self.tidied.text();
        if !done.is_empty() {
            line("tidied", done);
        }
        let differences = self.differences.iter().map(|(r, d)| format!("{r} {d:.1e}"));
        let differences: Vec<String> = differences.collect();
        line(
            "verified",
            format!(
                "{} off the file at most, {:.0e} allowed",
                differences.join(", "),
                self.tolerance
            ),
        );
        let mut runs: Vec<&str> = self.differences.keys().copied().collect();
        if self.pack.is_none() {
            runs.push("microcontrollers (headstart pack)");
        }
        line("runs on", runs.join(", "));
        if let Some(why) = &self.pack {
            line("no pack", why.clone());
        }
        for refusal in &self.refusals {
            line("but", refusal.clone());
        }
        if let Some(why) = &self.batch {
            line("batch", format!("stays as the file has it: {why}"));
        }
        text
    }
}

impl Tidied {
    fn text(&self) -> String {
        let parts = [
            (self.constants, "constants worked out"),
            (self.batch_norms, "batch norms folded"),
            (self.removed, "leftovers of training removed"),
            (self.widened, "tensors widened to 32-bit floats"),
            (self.quantised, "quantised operators written as QDQ"),
        ];
        let parts = parts.iter().filter(|(n, _)| *n > 0);
        let parts: Vec<String> = parts.map(|(n, what)| format!("{n} {what}")).collect();
        parts.join(", ")
    }
}
