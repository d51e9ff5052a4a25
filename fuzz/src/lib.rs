//! What is fuzzed lies beside the tests that replay it.
#![deny(unsafe_code)]

#[path = "../../tests/src/choices.rs"]
pub mod choices;
#[path = "../../tests/src/fuzzing.rs"]
pub mod fuzzing;
#[path = "../../tests/src/sealed.rs"]
pub mod sealed;
#[path = "../../tests/src/signed.rs"]
pub mod signed;
#[path = "../../tests/src/small_pack.rs"]
pub mod small_pack;
