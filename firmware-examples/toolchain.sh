# Sourced by run and check: which compiler builds for a target, and what is missing where none does.
#
# Where `rustup target add` was run, that is used. Elsewhere Debian's rustc-web serves: with the
# source of the library, which is then built along (-Zbuild-std), for bare metal; with the library
# of that architecture for Linux. Cargo and the linker rust-lld still come from rustup.

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has_target() {
    [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]
}

# has_debian TARGET
has_debian() {
    [ -x /usr/bin/rustc ] || return 1
    case $1 in
    *-linux-*) compgen -G "$(/usr/bin/rustc --print target-libdir --target "$1")/libstd-*.rlib" >/dev/null ;;
    *) [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ] ;;
    esac
}

# no_compiler TARGET: what to install where nothing builds for it; prints nothing where something
# does.
no_compiler() {
    has_target "$1" || has_debian "$1" && return
    echo "no compiler for $1. Install one of:"
    echo "  rustup target add $1"
    case $1 in
    aarch64-*-linux-*) echo "  apt-get install rustc-web libstd-rust-web-dev:arm64    # Debian, after dpkg --add-architecture arm64" ;;
    *) echo "  apt-get install rustc-web rust-web-src    # Debian, where rustup's server can't be reached" ;;
    esac
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

# firmware_build TARGET ARGUMENTS...: cargo build --release for a target that is not this machine.
firmware_build() {
    local target=$1 missing linker library=()
    shift
    missing=$(no_compiler "$target")
    [ -z "$missing" ] || fail "$missing"
    if has_target "$target"; then
        CARGO_TARGET_DIR="$folder/target" cargo build --release --target "$target" "$@"
        return
    fi
    local variable=${target//-/_}
    variable=CARGO_TARGET_${variable^^}_LINKER
    case $target in
    *-linux-*) linker=${!variable:-cc} ;;
    *)
        linker=$(echo "$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-lld)
        [ -x "$linker" ] || fail "no rust-lld in $(rustc --print sysroot): install Rust with rustup"
        library=(-Zbuild-std=core,panic_abort)
        ;;
    esac
    env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$folder/target-debian" \
        "$variable=$linker" cargo build --release --target "$target" "${library[@]}" "$@"
}
