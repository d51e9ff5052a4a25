//! A folder in which the tests call `headstart` as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::tiny::{self, Watch};

/// A folder with the files of a test in it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// With tiny.onnx and data.npz.
    pub fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("folder"));
        folder.write("tiny.onnx", &tiny::onnx());
        folder.write("data.npz", &Watch::default().npz());
        folder
    }

    /// Adds a file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("file");
        path
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `headstart` there.
    pub fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_headstart"))
            .args(arguments.split_whitespace())
            .current_dir(self.path())
            .output()
            .expect("the binary runs")
    }

    /// What it prints as JSON.
    pub fn json(&self, arguments: &str) -> Value {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }

    /// Makes tiny.pack.
    pub fn pack(&self) {
        let output = self.run("pack tiny.onnx data.npz");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }
}

/// Arguments, exit code, and what the message must say.
pub type Case = (&'static str, i32, &'static str);

/// Runs wrong calls, none of which may print results or panic.
pub fn refused(folder: &Folder, cases: &[Case]) {
    for (arguments, code, expected) in cases {
        let output = folder.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{arguments}: {errors}");
        assert!(
            errors.contains(expected),
            "{arguments}: {errors}\nshould contain: {expected}"
        );
        assert!(output.stdout.is_empty(), "{arguments} printed results");
        assert!(!errors.contains("panicked"), "{errors}");
    }
}
