#!/usr/bin/env bash
# Runs the unit tests of the crates that a module is made of, compiled for wasm32, under Node.
#
#   tools/test-wasm.sh [ARGUMENT FOR THE TEST RUNNER]...
set -euo pipefail

# shellcheck source=tools/wasm-env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/wasm-env.sh"
wasm_env

version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p}' "$wasm_root/Cargo.lock")
cache=${TOLLGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate}
runner=$cache/wasm-bindgen-cli/$version/bin/wasm-bindgen-test-runner
if [[ ! -x $runner ]]; then
  echo "error: no wasm-bindgen-test-runner $version: run \`make test-wasm\`" >&2
  exit 1
fi
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$runner
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER

cd "$wasm_root"
exec cargo test "${WASM_TEST_FLAGS[@]}" --lib --package tollgate --package tollgate-rate-limit \
  --package tollgate-mtls-identity --package tollgate-route-metrics -- "$@"
