#!/usr/bin/env bash
# Speed and memory against other software, as ratios measured in one run: ci/bench.sh [name ...]
# A name is a benchmark ("hand/landmarker") or its beginning ("hand"). Prints a table and writes bench.json.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
make_env "$VENV" "$ROOT/requirements.txt" "$ROOT/ci/requirements.txt"
cd "$ROOT"
exec python -m ci.bench "$@"
