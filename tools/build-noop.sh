#!/usr/bin/env bash
# Builds the filter that `make bench` compares with and prints where it is. Never shipped.
set -euo pipefail

# shellcheck source=tools/wasm-env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/wasm-env.sh"
wasm_env
(cd "$wasm_root" && cargo build --quiet "${WASM_FLAGS[@]}" --lib --profile module --package tollgate-bench-noop)
echo "$WASM_TARGET_DIR/$wasm_target/module/tollgate_bench_noop.wasm"
