#!/usr/bin/env bash
# Starts MONAI Label with bundles of this project: ci/label_server.sh STUDIES [bundle ...]
# STUDIES is a folder of images (NIfTI); without names every bundle is served. HOST (127.0.0.1), PORT (8000) and LABEL_APP
# (the folder of the app, in which the server keeps its state) can be set. Nothing is downloaded but Python packages.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
STUDIES="$(cd "${1:?give the folder of the images}" && pwd)"
shift
# versions that fit MONAI Label differ from those of the bundles: an environment of its own
make_env "${LABEL_VENV:-$ROOT/.venv-label}" "$ROOT/ci/label_requirements.txt"
cd "$ROOT"
if [ $# -eq 0 ]; then
    for metadata in bundles/*/configs/metadata.json; do set -- "$@" "$(basename "${metadata%/configs/*}")"; done
fi

APP="${LABEL_APP:-$VIRTUAL_ENV/app}"
[ -d "$APP/monaibundle" ] || monailabel apps --download --name monaibundle --output "$APP"
mkdir -p "$APP/monaibundle/model"
for name in "$@"; do
    [ -f "bundles/$name/configs/inference.json" ] || { echo "no such bundle: $name" >&2; exit 1; }
    ln -sfn "$ROOT/bundles/$name" "$APP/monaibundle/model/$name"
done
models="$(IFS=,; echo "$*")"
# zoo_source ngc: the only one that does not ask the network for its list; sam2 would be downloaded
exec monailabel start_server --app "$APP/monaibundle" --studies "$STUDIES" --host "${HOST:-127.0.0.1}" \
    --port "${PORT:-8000}" --conf models "$models" --conf zoo_source ngc --conf sam2 false
