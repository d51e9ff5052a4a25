//! What is fuzzed lies beside the tests that replay it.

#[path = "../../tests/src/fuzzing.rs"]
pub mod fuzzing;
#[path = "../../tests/src/small_pack.rs"]
pub mod small_pack;
