//! The comparison on one machine. How many cases: the first argument, where there is one.
#![cfg_attr(target_os = "none", no_std, no_main)]

/// Cases of each kind without an argument.
const CASES: u32 = 100_000;

#[cfg(all(target_os = "none", target_arch = "arm"))]
mod board {
    use core::fmt::Write as _;

    use cortex_m::peripheral::MPU;
    use cortex_m_rt::{ExceptionFrame, entry, exception};
    use cortex_m_semihosting::hio;
    use kernels::Memory;

    /// Where the board's 16 MB of external RAM end. The emulator reads zeros behind them; [`guard`] does not
    /// let it.
    const END: usize = 0x2200_0000;

    /// Any access from `END` on, up to another 16 MB, ends the run.
    fn guard() {
        /// No access and no code (zeros and bit 28), 2^(23 + 1) bytes, on.
        const NOTHING: u32 = 1 << 28 | 23 << 1 | 1;
        /// On; all else stays as it is without an MPU.
        const ON: u32 = 1 << 2 | 1;
        // SAFETY: nobody else uses the MPU, and the program has nothing there.
        unsafe {
            let mpu = &*MPU::PTR;
            mpu.rnr.write(0);
            mpu.rbar.write(END as u32);
            mpu.rasr.write(NOTHING);
            mpu.ctrl.write(ON);
        }
        cortex_m::asm::dsb();
        cortex_m::asm::isb();
    }

    #[exception]
    unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
        if let Ok(mut out) = hio::hstdout() {
            let at = frame.pc();
            let _ = writeln!(out, "error: a kernel left its memory, at {at:#010x}");
        }
        mps2::exit(false)
    }

    #[entry]
    fn main() -> ! {
        guard();
        let memory = (END - size_of::<Memory>()) as *mut Memory;
        // SAFETY: the program has all that it needs elsewhere (memory.x), nobody else has a reference,
        // and every pattern of bits is a `Memory`.
        let memory = unsafe { &mut *memory };
        let Ok(mut out) = hio::hstdout() else {
            mps2::exit(false)
        };
        let mut buffer = [0; 64];
        let cases = mps2::argument(&mut buffer).and_then(|text| text.parse().ok());
        let outcome = kernels::compare(cases.unwrap_or(super::CASES), memory, &mut out);
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

    use kernels::Memory;
    use virt::Uart;

    /// Memory that holds nothing yet.
    const MEMORY: *mut Memory = 0x8080_0000 as *mut Memory;
    /// Nothing tells this board how many.
    const CASES: u32 = super::CASES / 100;

    #[unsafe(no_mangle)]
    extern "C" fn virt_main() -> ! {
        // SAFETY: the board has RAM there, apart from the program; every pattern of bits is a
        // `Memory`.
        let outcome = kernels::compare(CASES, unsafe { &mut *MEMORY }, &mut Uart);
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
fn main() -> std::process::ExitCode {
    let cases = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let mut memory = Box::new(kernels::Memory::new());
    let mut report = String::new();
    let outcome = kernels::compare(cases.unwrap_or(CASES), &mut memory, &mut report);
    print!("{report}");
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault:?}");
            std::process::ExitCode::FAILURE
        }
    }
}
