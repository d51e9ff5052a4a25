//! The smallest firmware that learns and predicts: nothing is printed and nothing is measured. Its
//! .text and .rodata, less the pack, are what headstart's code costs.
#![no_std]
#![no_main]

use app::{Memory, data};
use cortex_m_rt::entry;

/// What a real firmware would act on.
static mut CLASS: usize = 0;

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();

    let Ok(mut learner) = app::learner(&mut MEMORY.ram) else {
        halt();
    };
    for (label, window) in data::support() {
        let _ = learner.learn(label, window);
    }
    for (_, window) in data::queries() {
        if let Ok(prediction) = learner.predict(window) {
            // SAFETY: nothing else reads or writes it.
            unsafe { (&raw mut CLASS).write_volatile(prediction.class) };
        }
    }
    halt()
}

fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    halt()
}
