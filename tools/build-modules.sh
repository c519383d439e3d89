#!/usr/bin/env bash
# Builds the filters into dist/*.wasm: rate-limit twice, the others once.
#
#   tools/build-modules.sh [-q]
#
# cargo decides each time what is out of date, so a stale module can't be left behind; a file in dist/ is replaced
# (atomically) only when its content changes. Any number may run at once, from any directory. -q: errors only,
# and one line before the one long build.
set -euo pipefail

quiet=()
case ${1-} in
  '') ;;
  -q | --quiet) quiet=(--quiet) ;;
  *)
    echo "usage: ${0##*/} [-q]" >&2
    exit 2
    ;;
esac

# shellcheck source=tools/wasm-env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/wasm-env.sh"
wasm_env

profile=module
out=$WASM_TARGET_DIR/$wasm_target/$profile
dist=$wasm_root/dist
mkdir -p "$WASM_TARGET_DIR" "$dist"

# cargo has its own lock; this one also covers the copies.
exec {lock}>"$WASM_TARGET_DIR/.modules.lock"
flock "$lock"

if [[ ! -d $out && $WASM_WAY == build-std ]]; then
  echo "building the standard library for wasm32 and the modules: 1 to 2 minutes, the first time only" >&2
fi

# build ARGUMENT...: builds libraries for wasm32.
build() {
  (cd "$wasm_root" && cargo build "${quiet[@]}" "${WASM_FLAGS[@]}" --lib --profile "$profile" "$@")
}

# ship FILTER MODULE: puts the library of a filter into dist/ under the module's name.
ship() {
  local built=$out/${1//-/_}.wasm target=$dist/$2.wasm private
  if cmp --silent "$built" "$target"; then
    return
  fi
  for private in "$wasm_root" "${CARGO_HOME:-$HOME/.cargo}" "$HOME/" "${wasm_debian_source%/library}"; do
    if [[ $private != / ]] && grep --quiet --text --fixed-strings -- "$private" "$built"; then
      echo "error: $2.wasm has a path of this machine in it: $private" >&2
      exit 1
    fi
  done
  cp "$built" "$dist/.$2.wasm.new"
  mv "$dist/.$2.wasm.new" "$target"
  if [[ ${#quiet[@]} == 0 ]]; then
    printf '%s: %d bytes\n' "dist/$2.wasm" "$(stat --format=%s "$target")" >&2
  fi
}

build --package tollgate-rate-limit --package tollgate-mtls-identity --package tollgate-route-metrics
for filter in rate-limit mtls-identity route-metrics; do
  ship "$filter" "$filter"
done
# The same crate once more, called for responses too (docs/adr/0007). cargo keeps both and gives the last one the name.
build --package tollgate-rate-limit --features response
ship rate-limit rate-limit-response
