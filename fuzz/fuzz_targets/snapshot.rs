//! Any bytes as a snapshot of statistics.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::fuzzing::snapshot(data);
});
