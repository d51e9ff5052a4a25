//! The report of one pack, on an emulated Cortex-M or RISC-V, or here.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(all(target_os = "none", target_arch = "arm"))]
mod board {
    use core::fmt::Write as _;

    use bench::Memory;
    use cortex_m_rt::entry;
    use cortex_m_semihosting::hio;
    use mps2::Instructions;

    /// Where QEMU puts the pack.
    const PACK: usize = 0x0020_0000;

    #[entry]
    fn main() -> ! {
        static mut MEMORY: Memory = Memory::new();
        let (Ok(mut out), Some(peripherals)) = (hio::hstdout(), cortex_m::Peripherals::take())
        else {
            mps2::exit(false)
        };
        let counter = Instructions::start(peripherals.SYST);
        // SAFETY: the board has memory there.
        let outcome = unsafe { bench::pack_at::<headstart::ops::AllKernels>(PACK) }
            .and_then(|pack| bench::report(pack, MEMORY, || counter.count(), &mut out));
        if let Err(fault) = &outcome {
            let _ = writeln!(out, "error: {fault:?}");
        }
        mps2::exit(outcome.is_ok() && !mps2::usage().stack_exhausted)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        mps2::panicked(info)
    }
}

#[cfg(all(target_os = "none", target_arch = "riscv32"))]
mod board {
    use core::fmt::Write as _;

    use bench::Memory;
    use virt::Uart;

    /// Where QEMU puts the pack.
    const PACK: usize = 0x8100_0000;
    /// Memory that holds nothing yet.
    const MEMORY: *mut Memory = 0x8080_0000 as *mut Memory;

    #[unsafe(no_mangle)]
    extern "C" fn virt_main() -> ! {
        // SAFETY: the board has RAM in both places, apart from each other and from the program;
        // every pattern of bits is a `Memory`.
        let outcome =
            unsafe { bench::pack_at::<headstart::ops::AllKernels>(PACK) }.and_then(|pack| {
                bench::report(pack, unsafe { &mut *MEMORY }, virt::instructions, &mut Uart)
            });
        if let Err(fault) = &outcome {
            let _ = writeln!(Uart, "error: {fault:?}");
        }
        virt::exit(outcome.is_ok())
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        virt::panicked(info)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!(
        "firmware-examples/bench/run builds this for an emulated board; `headstart bench` measures here"
    );
}
