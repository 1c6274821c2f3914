#!/usr/bin/env bash
# Runs every bundle on the data that comes with the project: ci/demo.sh [bundle ...]
# Prints one table and leaves the pictures in demo_output/<bundle>/. DEMO_OUTPUT names another folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
make_env "$VENV" "$ROOT/requirements.txt"
cd "$ROOT"
exec python -m ci.demo --output "${DEMO_OUTPUT:-$ROOT/demo_output}" "$@"
