#!/usr/bin/env bash
# Builds a module that only tests and `make bench` use, and prints where it is. Never shipped.
#
#   tools/build-test-module.sh tollgate-bench-noop | tollgate-bench-floor | tollgate-test-crash
set -euo pipefail

package=${1:?usage: ${0##*/} PACKAGE}
# shellcheck source=tools/wasm-env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/wasm-env.sh"
wasm_env
(cd "$wasm_root" && cargo build --quiet "${WASM_FLAGS[@]}" --lib --profile module --package "$package")
echo "$WASM_TARGET_DIR/$wasm_target/module/${package//-/_}.wasm"
