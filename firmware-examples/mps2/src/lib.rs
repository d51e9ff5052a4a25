//! QEMU's mps2-an386, a Cortex-M4F: what it ran, what memory that took, a serial port, and a way
//! to print and to end, through semihosting.
#![no_std]

mod counter;
mod machine;
mod uart;

pub use counter::Instructions;
pub use machine::{CORE, Usage, argument, usage};
pub use uart::Uart;

use core::fmt::Write as _;
use core::panic::PanicInfo;

use cortex_m_semihosting::{debug, hio};

/// Ends the emulation; QEMU's exit code is 0 or 1.
pub fn exit(success: bool) -> ! {
    let status = match success {
        true => debug::EXIT_SUCCESS,
        false => debug::EXIT_FAILURE,
    };
    loop {
        debug::exit(status);
    }
}

/// Prints where and why, and ends with an error.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    if let Ok(mut out) = hio::hstdout() {
        let _ = writeln!(out, "{info}");
    }
    exit(false)
}
