//! Bytes that choose a signed file and what is done to it: the answer is known.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headstart_fuzz::signed::fields(data);
});
