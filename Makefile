# Everything that is built, tested and shown, with all of its set-up. CONTRIBUTING.md has the map.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DEFAULT_GOAL := help

# What is fetched or built once, outside of the work tree.
export TOLLGATE_CACHE := $(abspath $(or $(TOLLGATE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tollgate))
export CARGO_TARGET_DIR := $(CURDIR)/target

# How long `make fuzz` spends on each of its targets.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= configuration matcher key_extraction slot_codec policy spiffe_id xfcc certificate

setup := tools/setup.sh
tollgate := target/release/tollgate
# What a module may weigh, as every pod downloads and compiles it (docs/adr/0008).
metrics_bytes := 180000
policy_bytes := 255000
# What a module may export for Envoy to call, and no more: Envoy enters the VM for each one that is there.
callbacks := proxy_on_context_create,proxy_on_configure,proxy_on_delete,proxy_on_request_headers
comma := ,
# All that there is to say when a module is not as it should be, else a line for each.
inspect = report=$$($(tollgate) inspect --max-bytes $1 --callbacks $2 $3 2>&1) \
  || { echo "$$report"; exit 1; }; grep '^dist/' <<<"$$report"

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build envoy tools ## Watch a real Envoy enforce the manifests of istio/overlays/local
	@$(tollgate) demo

.PHONY: test
test: ## Run every test: native, in wasm under Node, and against real Envoys
	@$(MAKE) test-native
	@$(MAKE) test-wasm
	@$(MAKE) test-integration

.PHONY: test-native
test-native: envoy tools ## Unit tests, compiled for this machine
	@cargo test --locked --workspace --exclude tollgate-tests --exclude tollgate-mesh

.PHONY: test-wasm
test-wasm: setup-wasm ## The same tests of the modules' crates, compiled for wasm32, under Node
	@$(setup) wasm-tests
	@tools/test-wasm.sh

.PHONY: test-integration
test-integration: build envoy tools registry monitoring logs-and-traces istio-authz ## The modules in the Envoys of tests/envoy-versions.txt
	@$(setup) dashboards
	@cargo test --locked --package tollgate-tests

.PHONY: test-mesh
test-mesh: build envoy monitoring mesh-parts ## The manifests and the modules under a real Istio on a real Kubernetes API
	@cargo test --locked --package tollgate-mesh

.PHONY: mesh
mesh: build envoy mesh-parts ## Run that mesh to play with, until Ctrl-C
	@cargo run --locked --quiet --package tollgate-mesh --bin mesh

.PHONY: lint
lint: lint-rust lint-wasm lint-dependencies lint-manifests lint-dashboards lint-workflows lint-scripts ## Formatting, lints, licences, manifests, dashboards, workflows, scripts

.PHONY: lint-rust
lint-rust:
	@cargo fmt --all --check
	@cargo fmt --manifest-path fuzz/Cargo.toml --check
	@cargo clippy --locked --workspace --all-targets -- --deny warnings

.PHONY: lint-wasm
lint-wasm:
	@$(setup) wasm-clippy
	@tools/lint-wasm.sh

.PHONY: lint-dependencies
lint-dependencies:
	@$(setup) cargo-deny
	@"$$TOLLGATE_CACHE/bin/cargo-deny" --locked --workspace check licenses bans sources

.PHONY: lint-manifests
lint-manifests: tools monitoring
	@$(setup) manifests
	@tools/check-manifests.sh

.PHONY: lint-dashboards
lint-dashboards:
	@$(setup) dashboards
	@tools/lint-dashboards.sh

.PHONY: lint-workflows
lint-workflows: tools shellcheck
	@"$$TOLLGATE_CACHE/bin/actionlint" .github/workflows/*.yml
	@echo "actionlint: .github/workflows is fine"

.PHONY: lint-scripts
lint-scripts: tools shellcheck
	@shellcheck --external-sources tools/*.sh .ci/run
	@test -z "$$(gofmt -l tools/manifests tests/istio tests/mesh/tools | tee /dev/stderr)"
	@# As setup.sh builds them, so that nothing is compiled twice.
	@cd tools/manifests && CGO_ENABLED=0 GOWORK=off go vet -trimpath -gcflags=all=-dwarf=false ./...
	@cd tests/mesh/tools && CGO_ENABLED=0 GOWORK=off go vet -trimpath -gcflags=all=-dwarf=false ./...
	@echo "shellcheck, gofmt and go vet: the scripts are fine"

# There is no unsafe code of ours, so the address sanitizer would only cost time. What a run learns is kept in the
# cache; what it finds goes to fuzz/artifacts.
.PHONY: fuzz
fuzz: ## Fuzz the parsers and the stored buckets, FUZZ_SECONDS (600) for each of FUZZ_TARGETS
	@$(setup) cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
	  corpus="$$TOLLGATE_CACHE/fuzz/$$target"; mkdir -p "$$corpus"; \
	  dictionary=(); [[ ! -f fuzz/$$target.dict ]] || dictionary=("-dict=fuzz/$$target.dict"); \
	  RUSTUP_TOOLCHAIN=nightly CARGO_TARGET_DIR=$(CURDIR)/target/fuzz "$$TOLLGATE_CACHE/bin/cargo-fuzz" run \
	    --sanitizer none "$$target" "$$corpus" "fuzz/seeds/$$target" -- "$${dictionary[@]}" \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1; \
	done

.PHONY: mutants
mutants: ## Break the code of .cargo/mutants.toml in every way that tests should notice; takes hours
	@$(setup) cargo-mutants
	@CARGO_TARGET_DIR=$(CURDIR)/target/mutants/build "$$TOLLGATE_CACHE/bin/cargo-mutants" mutants --workspace --output target/mutants \
	  || [[ $$? == 3 ]] # Nothing was missed; a loop without end was noticed by the time it took.

.PHONY: bench
bench: build envoy ## Compare with Envoy's own filters, side by side; writes target/bench/summary.json
	@$(setup) wrk
	@cargo run --locked --release --package tollgate-tests --bin bench

.PHONY: bench-memory
bench-memory: build envoy ## Send as ten million callers and watch Envoy's memory: about five minutes
	@$(setup) wrk
	@cargo run --locked --release --package tollgate-tests --bin callers

.PHONY: build
build: check-modules ## Build dist/*.wasm and target/release/tollgate

.PHONY: modules
modules: setup-wasm ## Build dist/*.wasm alone
	@tools/build-modules.sh

.PHONY: cli
cli: ## Build target/release/tollgate alone
	@cargo build --locked --release --package tollgate-cli

.PHONY: reference
reference: cli ## Write docs/reference/ anew from the types that the filters' parsers fill
	@for filter in rate-limit mtls-identity route-metrics; do \
	  $(tollgate) schema $$filter -o markdown > docs/reference/$$filter.md; \
	done

.PHONY: compatibility
compatibility: tools ## Write the tables of docs/compatibility.md anew from the definitions of every version of Istio
	@$(setup) manifests
	@tools/check-manifests.sh -write

.PHONY: dashboards
dashboards: build envoy monitoring ## Draw every dashboard from a real Prometheus's data, to target/dashboards
	@$(setup) dashboards
	@cargo run --locked --quiet --package tollgate-tests --bin dashboards

.PHONY: dashboards-json
dashboards-json: ## Write istio/monitoring/dashboards anew from tools/dashboards
	@$(setup) dashboards
	@cd tools/dashboards && PYTHONDONTWRITEBYTECODE=1 "$$TOLLGATE_CACHE/dashboards/venv/bin/python" -m tollgate_dashboards generate

.PHONY: check-modules
check-modules: modules cli
	@$(call inspect,$(policy_bytes),$(callbacks),dist/rate-limit.wasm)
	@$(call inspect,$(policy_bytes),$(callbacks)$(comma)proxy_on_response_headers,dist/rate-limit-response.wasm)
	@$(call inspect,$(policy_bytes),$(callbacks),dist/mtls-identity.wasm)
	@$(call inspect,$(metrics_bytes),$(callbacks)$(comma)proxy_on_log,dist/route-metrics.wasm)

.PHONY: envoy
envoy: ## Install the Envoys that the demo and the tests use
	@$(setup) envoy

.PHONY: tools
tools: ## Install kustomize and actionlint
	@$(setup) tools

.PHONY: istio-authz
istio-authz: ## Build Istio's own translation of AuthorizationPolicies
	@$(setup) istio-authz

.PHONY: logs-and-traces
logs-and-traces: ## Build Loki, Promtail and Jaeger: 8 to 20 minutes, once
	@$(setup) loki promtail jaeger

.PHONY: registry
registry: ## Install the registry and the client that images are tried with
	@$(setup) registry

.PHONY: monitoring
monitoring: ## Install Prometheus and Alertmanager, with promtool and amtool
	@$(setup) monitoring

.PHONY: mesh-parts
mesh-parts: ## Build Kubernetes, Istio and a registry: 6 to 30 minutes, once
	@$(setup) registry kubernetes istio mesh-host

.PHONY: setup-wasm
setup-wasm: ## Find or install a compiler for wasm32
	@$(setup) wasm

.PHONY: shellcheck
shellcheck:
	@$(setup) shellcheck

.PHONY: clean
clean: ## Delete what was built here; what is cached outside stays
	rm -rf target dist
