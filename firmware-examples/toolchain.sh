# Sourced by run and check: which compiler builds for a bare-metal target.
#
# Where `rustup target add` was run, that is used. Elsewhere Debian's rustc-web with the source of
# the library serves, which is then built along (-Zbuild-std); cargo and the linker rust-lld still
# come from rustup.

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has_target() {
    [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]
}

has_debian() {
    [ -x /usr/bin/rustc ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]
}

# firmware_target TARGET: prints the folder that the target's images are written to.
firmware_target() {
    if has_target "$1"; then
        echo "$folder/target/$1/release"
    else
        echo "$folder/target-debian/$1/release"
    fi
}

# firmware_compiler TARGET: says which compiler it is.
firmware_compiler() {
    if has_target "$1"; then rustc --version; else /usr/bin/rustc --version; fi
}

# firmware_build TARGET ARGUMENTS...: cargo build --release for a bare-metal target.
firmware_build() {
    local target=$1 linker
    shift
    if has_target "$target"; then
        CARGO_TARGET_DIR="$folder/target" cargo build --release --target "$target" "$@"
        return
    fi
    has_debian || fail "no compiler for $target. Install one of:
  rustup target add $target
  apt-get install rustc-web rust-web-src    # Debian, where rustup's server can't be reached"
    linker=$(echo "$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-lld)
    [ -x "$linker" ] || fail "no rust-lld in $(rustc --print sysroot): install Rust with rustup"
    local variable=${target//-/_}
    env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$folder/target-debian" \
        "CARGO_TARGET_${variable^^}_LINKER=$linker" \
        cargo build --release --target "$target" -Zbuild-std=core,panic_abort "$@"
}
