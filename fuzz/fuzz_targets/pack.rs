//! Any bytes as a pack: what passes the check runs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::fuzzing::file(data);
});
