#!/usr/bin/env bash
# Holds what every kustomization under istio/ builds against the definitions of each version of Istio, of the Prometheus operator
# and of Kubernetes: tools/manifests. With -write it also writes the tables of docs/compatibility.md.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${TOLLGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate}

(cd "$root/tools/manifests" && CGO_ENABLED=0 GOWORK=off go test ./versions)
"$cache/manifests/bin/manifests" check "$@" "$root" "$cache/manifests/definitions" "$cache/bin/kustomize"
