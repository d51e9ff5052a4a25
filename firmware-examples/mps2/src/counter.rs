//! An instruction counter out of the SysTick timer.
//!
//! With `-icount shift=0` QEMU gives an instruction one nanosecond of virtual time, so the 25 MHz
//! timer goes down by one every 40 instructions: the same in every run. It has 24 bits; an
//! interrupt counts how often it starts anew.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

const RELOAD: u32 = 0x00ff_ffff;
const INSTRUCTIONS: u32 = 40;

static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    WRAPS.store(
        WRAPS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// The running counter.
pub struct Instructions(());

impl Instructions {
    /// Starts at zero.
    pub fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(RELOAD);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        Instructions(())
    }

    /// Instructions since the start, in steps of 40; wraps at 2^32.
    pub fn count(&self) -> u32 {
        loop {
            let wraps = WRAPS.load(Ordering::Relaxed);
            let left = SYST::get_current();
            if WRAPS.load(Ordering::Relaxed) == wraps {
                let ticks = wraps.wrapping_mul(RELOAD + 1).wrapping_add(RELOAD - left);
                return ticks.wrapping_mul(INSTRUCTIONS);
            }
        }
    }
}
