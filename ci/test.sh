#!/usr/bin/env bash
# Lint, types and all tests: ci/test.sh [pytest arguments]
# Tests on real images run where BUNDLES_DATA names their folder, and skip with a reason elsewhere.
# WORKERS=0 runs them in one process. LABEL=1 also runs the tests that install and start MONAI Label.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
make_env "$VENV" "$ROOT/requirements.txt" "$ROOT/ci/requirements.txt"
cd "$ROOT"
if [ -z "${BUNDLES_DATA:-}" ] && [ -d ../shared/data ]; then
    BUNDLES_DATA="$(cd ../shared/data && pwd)"
fi
[ -z "${BUNDLES_DATA:-}" ] || export BUNDLES_DATA
# UTF-8 whatever the locale: progress bars are not ASCII, and the workers read what commands print
export LABEL="${LABEL:-0}" MPLBACKEND=Agg PYTHONUTF8=1

echo "== lint"
ruff check --config ci/ruff.toml .
echo "== types"
python -m ci.check_types
echo "== tests"
# one worker a core, each with one thread: most tests wait for commands that start up
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" python -m pytest --numprocesses "${WORKERS:-auto}" --dist loadscope "$@"
