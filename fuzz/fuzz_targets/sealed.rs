//! Bytes as a sealed file, and as choices that make one: the answer is known.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::sealed::file(data);
});
