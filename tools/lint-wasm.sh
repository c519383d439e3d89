#!/usr/bin/env bash
# clippy, warnings denied, on what only wasm32 compiles: the host adapter and each filter's plugin.rs.
set -euo pipefail

# shellcheck source=tools/wasm-env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/wasm-env.sh"
wasm_env
cd "$wasm_root"

packages=()
for package in tollgate tollgate-host tollgate-rate-limit tollgate-mtls-identity tollgate-route-metrics; do
  packages+=(--package "$package")
done
if [[ $WASM_WAY == build-std ]]; then
  # The clippy that belongs to Debian's compiler, called the way that `cargo clippy` calls it.
  export RUSTC_WORKSPACE_WRAPPER=/usr/bin/clippy-driver CLIPPY_ARGS='-Dwarnings__CLIPPY_HACKERY__'
  cargo check "${WASM_TEST_FLAGS[@]}" --lib --tests "${packages[@]}"
  exec cargo check "${WASM_TEST_FLAGS[@]}" --lib --package tollgate-rate-limit --features response
fi
cargo clippy "${WASM_TEST_FLAGS[@]}" --lib --tests "${packages[@]}" -- --deny warnings
exec cargo clippy "${WASM_TEST_FLAGS[@]}" --lib --package tollgate-rate-limit --features response -- --deny warnings
