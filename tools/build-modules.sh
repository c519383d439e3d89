#!/usr/bin/env bash
# Builds the three filters into dist/*.wasm.
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

filters=(rate-limit mtls-identity route-metrics)
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
packages=()
for filter in "${filters[@]}"; do
  packages+=(--package "tollgate-$filter")
done
(cd "$wasm_root" && cargo build "${quiet[@]}" "${WASM_FLAGS[@]}" --lib --profile "$profile" "${packages[@]}")

for filter in "${filters[@]}"; do
  built=$out/${filter//-/_}.wasm
  target=$dist/$filter.wasm
  if cmp --silent "$built" "$target"; then
    continue
  fi
  for private in "$wasm_root" "${CARGO_HOME:-$HOME/.cargo}" "$HOME/" "${wasm_debian_source%/library}"; do
    if [[ $private != / ]] && grep --quiet --text --fixed-strings -- "$private" "$built"; then
      echo "error: $filter.wasm has a path of this machine in it: $private" >&2
      exit 1
    fi
  done
  cp "$built" "$dist/.$filter.wasm.new"
  mv "$dist/.$filter.wasm.new" "$target"
  if [[ ${#quiet[@]} == 0 ]]; then
    printf '%s: %d bytes\n' "dist/$filter.wasm" "$(stat --format=%s "$target")" >&2
  fi
done
