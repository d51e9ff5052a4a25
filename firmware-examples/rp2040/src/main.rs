//! The watch demo on a Raspberry Pi Pico: prints through RTT, counts cycles with the SysTick timer,
//! as the Cortex-M0+ has no cycle counter. Runs on the ring oscillator that the chip starts with.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use app::{Board, Memory};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use rtt_target::{ChannelMode, rprint, rprintln, rtt_init_print};

/// For the flash chip of the Raspberry Pi Pico.
#[used]
#[unsafe(link_section = ".boot2")]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

const RELOAD: u32 = 0x00ff_ffff;

/// How often the 24-bit timer started anew.
static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    WRAPS.store(
        WRAPS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

struct Cycles;

impl Cycles {
    fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(RELOAD);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        Cycles
    }
}

impl Board for Cycles {
    const UNIT: &'static str = "cycles";

    fn count(&mut self) -> u32 {
        loop {
            let wraps = WRAPS.load(Ordering::Relaxed);
            let left = SYST::get_current();
            if WRAPS.load(Ordering::Relaxed) == wraps {
                return wraps.wrapping_mul(RELOAD + 1).wrapping_add(RELOAD - left);
            }
        }
    }
}

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();

    // As large as the report: nothing is lost where the debugger attaches later.
    rtt_init_print!(ChannelMode::NoBlockSkip, 2048);
    if let Some(core) = cortex_m::Peripherals::take() {
        rprintln!("board        RP2040, Cortex-M0+");
        match app::run(&mut Cycles::start(core.SYST), MEMORY) {
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
