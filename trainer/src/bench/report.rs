//! The times, for people and for machines.

use std::fmt::Write as _;

use serde_json::json;

use super::cpu::Cpu;
use super::measure::Run;

/// One encoder's runs, the pack first.
pub struct Encoder {
    pub name: String,
    pub macs: usize,
    pub runs: Vec<Run>,
    /// What was not run, and why.
    pub skipped: Vec<(String, String)>,
}

/// All of a call.
pub struct Report {
    cpu: Cpu,
    turns: usize,
    onnxruntime: Option<String>,
    pub encoders: Vec<Encoder>,
}

impl Report {
    /// Of this machine.
    pub fn new(turns: usize, onnxruntime: Option<String>) -> Report {
        Report {
            cpu: Cpu::this(),
            turns,
            onnxruntime,
            encoders: Vec::new(),
        }
    }

    /// Tables.
    pub fn text(&self) -> String {
        let mut text = format!("processor     {}\n", self.cpu.model);
        let bytes = match self.cpu.multiplies_bytes() {
            true => "products of bytes in one instruction (VNNI or its like)",
            false => "no instruction for products of bytes (no VNNI or its like)",
        };
        let _ = writeln!(text, "it has        {}: {bytes}", self.cpu.flags.join(" "));
        let onnxruntime = self.onnxruntime.as_deref().unwrap_or("not there");
        let _ = writeln!(text, "ONNX Runtime  {onnxruntime}");
        let _ = writeln!(
            text,
            "one thread    one input at a time; {} turns each, one after the other",
            self.turns
        );
        for encoder in &self.encoders {
            encoder.write(&mut text);
        }
        text
    }

    /// One object.
    pub fn json(&self) -> String {
        let encoders: Vec<_> = self.encoders.iter().map(Encoder::json).collect();
        let report = json!({
            "processor": self.cpu.model,
            "flags": self.cpu.flags,
            "multiplies_bytes": self.cpu.multiplies_bytes(),
            "onnxruntime": self.onnxruntime,
            "threads": 1,
            "turns": self.turns,
            "encoders": encoders,
        });
        report.to_string()
    }
}

impl Encoder {
    /// How much longer a run takes than the pack.
    fn ratio(&self, run: &Run) -> f64 {
        run.median / self.runs[0].median
    }

    /// The fastest run besides the pack.
    fn fastest_peer(&self) -> Option<&Run> {
        let peers = self.runs[1..].iter();
        peers.min_by(|a, b| a.median.total_cmp(&b.median))
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n{}, {:.1} million multiply-accumulates",
            self.name,
            self.macs as f64 / 1e6
        );
        let head = ["", "median us", "range", "to the pack"];
        let _ = writeln!(
            text,
            "{:<24}{:>10}  {:>18}  {:>11}",
            head[0], head[1], head[2], head[3]
        );
        for run in &self.runs {
            let range = format!("{:.1} to {:.1}", run.least, run.most);
            let ratio = format!("{:.2}", self.ratio(run));
            let _ = writeln!(
                text,
                "{:<24}{:>10.1}  {range:>18}  {ratio:>11}",
                run.name, run.median
            );
        }
        for (name, why) in &self.skipped {
            let _ = writeln!(text, "{name:<24}not run: {why}");
        }
        if let Some(peer) = self.fastest_peer() {
            let _ = writeln!(
                text,
                "the fastest other, {}, takes {:.2} times as long as the pack",
                peer.name,
                self.ratio(peer)
            );
        }
    }

    fn json(&self) -> serde_json::Value {
        let run = |run: &Run| {
            json!({
                "runtime": run.name,
                "median_us": run.median,
                "least_us": run.least,
                "most_us": run.most,
                "ratio": self.ratio(run),
            })
        };
        let skipped = |(name, why): &(String, String)| json!({ "runtime": name, "reason": why });
        json!({
            "encoder": self.name,
            "multiply_accumulates": self.macs,
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
            "skipped": self.skipped.iter().map(skipped).collect::<Vec<_>>(),
        })
    }
}
