# CI's jobs by name; `just` lists them. Each runs `.ci/run JOB`, so that both are always the same.

default:
    @just --list

# Everything that CI runs
ci:
    .ci/run

# One job: tools, fmt, device, lean, teach, no_std, qemu, c, machines, kernels, test, clippy, docs, instructions, log, wire, package
job NAME:
    .ci/run {{NAME}}

# The watch data that is not committed, and the encoder from it
watch:
    models/get watch
    cargo run --release --bin headstart -- pretrain models/data/watch/pretrain.npz -o models/watch.onnx
    cargo run --release --bin headstart -- pack models/watch.onnx models/data/watch/pretrain.npz -o models/watch.pack

# The Linux example built for AArch64 against the same on this machine; not in CI: ten minutes of building
linux-aarch64:
    firmware-examples/aarch64/run

# Pretraining on graphics cards, type-checked only; not in CI: it builds another world of crates
gpu:
    cargo check --release -p headstart-trainer --features wgpu --target-dir target/gpu
    cargo check --release -p headstart-trainer --features cuda --target-dir target/gpu

# The device crate's tests under AddressSanitizer, kernels above all; not in CI: it wants Rust's unstable flags
sanitize:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --release -p headstart --lib --features signed \
        --target x86_64-unknown-linux-gnu --target-dir target/sanitize

# SECONDS of fuzzing for every target, one after the other: `just fuzz 60`; not in CI, which replays the corpora
fuzz SECONDS:
    fuzz/run {{SECONDS}}
