//! QEMU's virt board with a 32-bit RISC-V: no FPU, and no crate between the program and the board.
//!
//! A program links with `-Tvirt.x` and defines `virt_main`:
//!
//! ```ignore
//! #[unsafe(no_mangle)]
//! extern "C" fn virt_main() -> ! { virt::exit(true) }
//! ```
#![no_std]
#![cfg(all(target_os = "none", target_arch = "riscv32"))]

use core::fmt::{self, Write};

/// The serial port's transmit register; the emulated one is always ready.
const UART: *mut u8 = 0x1000_0000 as *mut u8;
/// The register that ends the emulation.
const FINISHER: *mut u32 = 0x0010_0000 as *mut u32;
/// Exit codes 0 and 1.
const PASS: u32 = 0x5555;
const FAIL: u32 = 0x1_3333;

// The first thing that runs: a stack, then Rust. virt.x sees to it that no memory must be cleared.
core::arch::global_asm!(
    ".section .text.start, \"ax\"",
    ".globl _start",
    "_start:",
    "la sp, _stack_top",
    "call virt_main",
);

/// The serial port.
pub struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the board has its serial port there, and nothing else writes to it.
            unsafe { UART.write_volatile(byte) };
        }
        Ok(())
    }
}

/// Ends the emulation; QEMU's exit code is 0 or 1.
pub fn exit(success: bool) -> ! {
    // SAFETY: the board has its finisher there, and a write ends the emulation.
    unsafe { FINISHER.write_volatile(if success { PASS } else { FAIL }) };
    loop {
        core::hint::spin_loop();
    }
}

/// Instructions since the start; wraps at 2^32.
pub fn instructions() -> u32 {
    let count;
    // SAFETY: reads a counter.
    unsafe { core::arch::asm!("rdinstret {}", out(reg) count, options(nomem, nostack)) };
    count
}

/// Prints where and why, and ends with an error.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Uart, "{info}");
    exit(false)
}
