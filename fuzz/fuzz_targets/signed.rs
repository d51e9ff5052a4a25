//! Any bytes as a signed file, and as a public key.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::signed::bytes(data);
});
