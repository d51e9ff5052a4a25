//! Any flash as a sample log, with checksums that match.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::fuzzing::log(data);
});
