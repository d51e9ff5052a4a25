//! Any bytes and any messages on a wire, with checksums that match.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::fuzzing::wire(data);
});
