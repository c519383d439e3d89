# shellcheck shell=bash
# How this machine compiles for wasm32-unknown-unknown. Sourced, never run: by build-modules.sh for the modules that
# ship and by test-wasm.sh for the tests under Node, so that both use one compiler. docs/adr/0001 has the reasons.
#
# Call `wasm_env` once. It leaves behind
#   WASM_WAY         rustup: the toolchain has the target's standard library
#                    build-std: it has not, so Debian's compiler builds the library from Debian's own source
#   WASM_TARGET_DIR  a target directory of its own, so that a second compiler never invalidates native builds
#   WASM_FLAGS       array: arguments for cargo build, check and clippy
#   WASM_TEST_FLAGS  array: the same for cargo test
# and an environment in which nothing that the caller has set (flags, wrappers, profiles, target directories) or
# wrote in a cargo configuration file reaches the modules. TOLLGATE_WASM=rustup or =build-std asks for one way.

wasm_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

wasm_target=wasm32-unknown-unknown
wasm_debian_rustc=/usr/bin/rustc
wasm_debian_source=/usr/lib/rustlib/src/rust/library

# Whether the toolchain that cargo uses has the standard library for the target.
wasm_has_target() {
  local libdir
  [[ ${TOLLGATE_WASM-} != build-std ]] || return 1
  libdir=$(cd "$wasm_root" && rustc --print target-libdir --target "$wasm_target" 2>/dev/null) || return 1
  compgen -G "$libdir/libcore-*.rlib" >/dev/null
}

# Whether Debian's compiler and the source of its standard library are both there.
wasm_has_build_std() {
  [[ ${TOLLGATE_WASM-} != rustup && -x $wasm_debian_rustc && -e $wasm_debian_source/std/Cargo.toml ]]
}

wasm_clean_environment() {
  local name
  while IFS= read -r name; do
    case $name in
      CARGO_BUILD_JOBS) ;;
      RUSTC | RUSTDOC | RUSTFLAGS | RUSTDOCFLAGS | RUSTC_* | CARGO_ENCODED_* | CARGO_BUILD_* | CARGO_PROFILE_* | \
        CARGO_TARGET_* | CARGO_UNSTABLE_* | CARGO_INCREMENTAL | LD_LIBRARY_PATH)
        unset "$name"
        ;;
    esac
  done < <(compgen -e)
  # Empty, not unset: that also turns off a wrapper from a configuration file.
  export RUSTC_WRAPPER='' RUSTC_WORKSPACE_WRAPPER=''
}

# The Rust project's linker: Debian's where it is packaged, else the one inside the Rust toolchain.
wasm_linker() {
  local sysroot host candidate
  if [[ -x /usr/bin/rust-lld ]]; then
    echo /usr/bin/rust-lld
    return
  fi
  sysroot=$(cd "$wasm_root" && rustc --print sysroot)
  host=$(cd "$wasm_root" && rustc -vV | sed -n 's/^host: //p')
  candidate=$sysroot/lib/rustlib/$host/bin/rust-lld
  if [[ ! -x $candidate ]]; then
    echo "error: no rust-lld in $sysroot: this Rust toolchain can't link WebAssembly" >&2
    return 1
  fi
  printf '%s\n' "$candidate"
}

# Compiler flags that take this machine's paths out of the modules. Each registry directory is mapped by itself:
# its name has the registry's host in it.
wasm_remapped() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} directory sources
  sources=("$cargo_home"/registry/src/*/)
  if [[ ! -d ${sources[0]} ]]; then
    cargo fetch --quiet --locked --manifest-path "$wasm_root/Cargo.toml"
    sources=("$cargo_home"/registry/src/*/)
  fi
  printf '%s\n' "--remap-path-prefix=$cargo_home=cargo"
  for directory in "${sources[@]}"; do
    printf '%s\n' "--remap-path-prefix=${directory%/}=crates"
  done
  printf '%s\n' "--remap-path-prefix=$wasm_root=tollgate"
  if [[ $WASM_WAY == build-std ]]; then
    # Debian's source directory is a link, and cargo follows it for some crates.
    printf '%s\n' "--remap-path-prefix=${wasm_debian_source%/library}=rust" \
      "--remap-path-prefix=$(cd "$wasm_debian_source/.." && pwd -P)=rust" \
      "--remap-path-prefix=$(cd "$wasm_debian_source" && pwd -P)=rust/library"
  fi
}

wasm_env() {
  wasm_clean_environment
  if wasm_has_target; then
    WASM_WAY=rustup
    WASM_FLAGS=()
    WASM_TEST_FLAGS=()
  elif wasm_has_build_std; then
    WASM_WAY=build-std
    export RUSTC=$wasm_debian_rustc RUSTC_BOOTSTRAP=1
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(wasm_linker) || return 1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER
    WASM_FLAGS=('-Zbuild-std=std,panic_abort')
    WASM_TEST_FLAGS=('-Zbuild-std=std,panic_abort,test')
  else
    cat >&2 <<'TEXT'
error: nothing here can compile for wasm32-unknown-unknown. One of these cures it:
  rustup target add wasm32-unknown-unknown
  sudo apt-get install rustc-web rust-web-src      (Debian, where rustup can't download)
`make setup-wasm` tries both.
TEXT
    return 1
  fi
  WASM_TARGET_DIR=$wasm_root/target/wasm
  local common=(--locked --target "$wasm_target" --target-dir "$WASM_TARGET_DIR" --manifest-path "$wasm_root/Cargo.toml")
  WASM_FLAGS+=("${common[@]}")
  WASM_TEST_FLAGS+=("${common[@]}")
  local flags
  flags=$(wasm_remapped) || return 1
  # Less inlining than for speed alone: it takes 3 % off the modules, and their time goes into calls to the host anyway.
  flags+=$'\n-Cllvm-args=-inline-threshold=75'
  export CARGO_ENCODED_RUSTFLAGS=${flags//$'\n'/$'\x1f'}
}
