//! QEMU's Cortex-M4F, which runs code for smaller cores too. The command line's second word is
//! `bench`, or none.

use core::fmt::Write as _;

use cortex_m_rt::entry;
use cortex_m_semihosting::hio;
use mps2::Instructions;

#[entry]
fn main() -> ! {
    let (Ok(mut out), Some(peripherals)) = (hio::hstdout(), cortex_m::Peripherals::take()) else {
        mps2::exit(false)
    };
    let counter = Instructions::start(peripherals.SYST);
    let mut buffer = [0; 64];
    let outcome = match mps2::argument(&mut buffer) {
        Some("bench") => heads::costs(&mut out, || counter.count()),
        _ => heads::digests(&mut out),
    };
    if let Err(fault) = &outcome {
        let _ = writeln!(out, "error: {fault}");
    }
    mps2::exit(outcome.is_ok() && !mps2::usage().stack_exhausted)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    mps2::panicked(info)
}
