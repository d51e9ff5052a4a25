//! Tells the linker where an emulated board's memory is.

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
    let target = |key| std::env::var(key).unwrap_or_default();
    if target("CARGO_CFG_TARGET_OS") != "none" {
        return;
    }
    println!("cargo::rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rustc-link-arg=--nmagic");
    match target("CARGO_CFG_TARGET_ARCH").as_str() {
        "riscv32" => println!("cargo::rustc-link-arg=-Tvirt.x"), // the board's
        _ => println!("cargo::rustc-link-arg=-Tlink.x"), // cortex-m-rt's, which reads memory.x
    }
}
