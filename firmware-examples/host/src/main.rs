//! The watch demo on this machine: its digest is what a board's is compared with.

use std::process::ExitCode;
use std::time::Instant;

struct Host {
    start: Instant,
}

impl app::Board for Host {
    const UNIT: &'static str = "ns";

    fn count(&mut self) -> u32 {
        self.start.elapsed().as_nanos() as u32
    }
}

fn main() -> ExitCode {
    let mut board = Host {
        start: Instant::now(),
    };
    match app::run(&mut board, &mut app::Memory::new()) {
        Ok(report) => {
            print!("board        this machine\n{report}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}
