//! The watch demo on QEMU's mps2-an386, a Cortex-M4F.
//!
//! Prints through semihosting. The host's digest comes as the command line's second word; the
//! program ends with an error where its own differs.
#![no_std]
#![no_main]

use core::fmt::Write as _;

use app::{Board, Memory, Report};
use cortex_m_rt::entry;
use cortex_m_semihosting::hio;
use mps2::Instructions;

struct Emulator(Instructions);

impl Board for Emulator {
    const UNIT: &'static str = "instructions";

    fn count(&mut self) -> u32 {
        self.0.count()
    }
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();

    mps2::exit(demo(MEMORY).is_ok())
}

/// The reason is printed already.
struct Failed;

impl From<core::fmt::Error> for Failed {
    fn from(_: core::fmt::Error) -> Self {
        Failed
    }
}

fn demo(memory: &mut Memory) -> Result<(), Failed> {
    let mut out = hio::hstdout().map_err(|()| Failed)?;
    let Some(peripherals) = cortex_m::Peripherals::take() else {
        return Err(Failed);
    };
    let mut board = Emulator(Instructions::start(peripherals.SYST));
    match app::run(&mut board, memory) {
        Ok(report) => tell(&mut out, &report),
        Err(fault) => {
            writeln!(out, "error: {fault}")?;
            Err(Failed)
        }
    }
}

/// Prints the report and what only the board knows, and compares digests.
fn tell(out: &mut hio::HostStream, report: &Report) -> Result<(), Failed> {
    let usage = mps2::usage();
    writeln!(out, "board        mps2-an386, {}, QEMU", mps2::CORE)?;
    write!(out, "{report}")?;
    writeln!(out, "flash        {} bytes", usage.flash)?;
    writeln!(out, "ram          {} bytes", usage.statics + usage.stack)?;
    writeln!(out, "stack        {} bytes", usage.stack)?;
    let mut buffer = [0; 128];
    let verdict = match mps2::argument(&mut buffer) {
        None => "not given",
        Some(digest) if digest == report.digest.as_str() => "the same",
        Some(_) => "DIFFERS",
    };
    writeln!(out, "host digest  {verdict}")?;
    if verdict == "DIFFERS" || !report.relearnt || usage.stack_exhausted {
        return Err(Failed);
    }
    Ok(())
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    mps2::panicked(info)
}
