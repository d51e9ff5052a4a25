//! QEMU's virt board with a 32-bit RISC-V: no FPU, and no crate between the program and the board.

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
    "call {main}",
    main = sym main,
);

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the board has its serial port there, and nothing else writes to it.
            unsafe { UART.write_volatile(byte) };
        }
        Ok(())
    }
}

extern "C" fn main() -> ! {
    match heads::digests(&mut Uart) {
        Ok(()) => exit(PASS),
        Err(fault) => {
            let _ = writeln!(Uart, "error: {fault}");
            exit(FAIL)
        }
    }
}

fn exit(code: u32) -> ! {
    // SAFETY: the board has its finisher there, and a write ends the emulation.
    unsafe { FINISHER.write_volatile(code) };
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Uart, "{info}");
    exit(FAIL)
}
