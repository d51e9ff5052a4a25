//! Bytes that choose a small pack: its tables get past the checks that stop blind bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::fuzzing::tables(data);
});
