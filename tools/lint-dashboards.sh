#!/usr/bin/env bash
# The program that makes the dashboards: formatting, lints, types and tests. The dashboards: whether they are what it makes,
# and what Grafana's own types allow.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${TOLLGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate}
bin=$cache/dashboards/venv/bin
built=$root/target/lint-dashboards
export RUFF_CACHE_DIR=$built/ruff MYPY_CACHE_DIR=$built/mypy PYTHONPYCACHEPREFIX=$built/python
export TOLLGATE_DASHBOARD_SCHEMA=$cache/dashboards/schema.json

cd "$root/tools/dashboards"
"$bin/ruff" format --quiet --diff .
"$bin/ruff" check --quiet .
"$bin/mypy" --no-error-summary tollgate_dashboards tests
"$bin/python" -m unittest discover --start-directory tests --top-level-directory .
"$bin/python" -m tollgate_dashboards check --schema "$TOLLGATE_DASHBOARD_SCHEMA"
