//! The heads on one machine: prints a digest for each, or with `bench` what each costs.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(all(target_os = "none", target_arch = "arm"))]
mod mps2_an386;
#[cfg(all(target_os = "none", target_arch = "riscv32"))]
mod virt_board;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    host::main()
}
