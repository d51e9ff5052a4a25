//! QEMU's virt board with a 32-bit RISC-V.

use core::fmt::Write as _;

use virt::Uart;

#[unsafe(no_mangle)]
extern "C" fn virt_main() -> ! {
    let outcome = heads::digests(&mut Uart);
    if let Err(fault) = &outcome {
        let _ = writeln!(Uart, "error: {fault}");
    }
    virt::exit(outcome.is_ok())
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    virt::panicked(info)
}
