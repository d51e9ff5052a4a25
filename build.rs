//! Says whether the processor has the DSP instructions that `ops/arch/armv7em.rs` uses.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(armv7em)");
    println!("cargo::rerun-if-changed=build.rs");
    // The compiler tells ARMv7E-M from ARMv7-M by the target's name alone.
    if std::env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv7em")) {
        println!("cargo::rustc-cfg=armv7em");
    }
}
