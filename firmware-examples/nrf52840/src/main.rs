//! The watch demo on an nRF52840: prints through RTT, counts cycles with the DWT.
#![no_std]
#![no_main]

use app::{Board, Memory};
use cortex_m::peripheral::DWT;
use cortex_m_rt::entry;
use rtt_target::{ChannelMode, rprint, rprintln, rtt_init_print};

/// The cycle counter of the debug unit, which goes on counting without a debugger.
struct Cycles(DWT);

impl Board for Cycles {
    const UNIT: &'static str = "cycles";

    fn count(&mut self) -> u32 {
        self.0.cyccnt.read()
    }
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();

    // As large as the report: nothing is lost where the debugger attaches later.
    rtt_init_print!(ChannelMode::NoBlockSkip, 2048);
    if let Some(mut core) = cortex_m::Peripherals::take() {
        core.DCB.enable_trace();
        core.DWT.enable_cycle_counter();
        rprintln!("board        nRF52840, Cortex-M4F");
        match app::run(&mut Cycles(core.DWT), MEMORY) {
            Ok(report) => rprint!("{}", report),
            Err(fault) => rprintln!("error: {}", fault),
        }
    }
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    rprintln!("{}", info);
    loop {
        cortex_m::asm::wfi();
    }
}
