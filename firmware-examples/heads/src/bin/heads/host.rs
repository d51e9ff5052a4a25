//! A machine with an operating system.

use std::process::ExitCode;

pub fn main() -> ExitCode {
    let mut report = String::new();
    match heads::digests(&mut report) {
        Ok(()) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}
