#!/usr/bin/env bash
# Builds every kustomization under istio/ and holds what comes out against closed schemas: the resource definitions of
# Istio and of the Prometheus operator, and Kubernetes' built-in kinds.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${TOLLGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate}

built=0
while IFS= read -r file; do
  directory=$(dirname "$file")
  # A component is built as part of what includes it.
  if grep --quiet '^kind: Component' "$file"; then
    if ! grep --recursive --quiet --fixed-strings "components/$(basename "$directory")" \
      --include=kustomization.yaml "$root/istio/overlays"; then
      echo "error: no overlay includes ${directory#"$root"/}, so nothing checks it" >&2
      exit 1
    fi
    continue
  fi
  printf '%s: ' "${directory#"$root"/}"
  "$cache/bin/kustomize" build "$directory" | "$cache/bin/kubeconform" -strict -summary -output text \
    -schema-location "$cache/schemas/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json" -
  built=$((built + 1))
done < <(find "$root/istio" -name kustomization.yaml | sort)
if [[ $built == 0 ]]; then
  echo "error: no kustomization found" >&2
  exit 1
fi
