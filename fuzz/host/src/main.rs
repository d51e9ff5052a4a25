//! One binary for all targets, which `FUZZ_TARGET` names: linking the trainer takes longer than to
//! look a name up.
#![no_main]
#![deny(unsafe_code)]

use std::alloc::System;
use std::sync::LazyLock;

use cap::Cap;
use headstart_tests::hostile::Target;

/// A file that makes its reader ask for more ends the run, as a panic does.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    Target::named(&name).unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name:?}"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limit = MEMORY.allocated() + TARGET.memory;
    MEMORY.set_limit(limit).expect("more than there is now");
    (TARGET.run)(data);
});
