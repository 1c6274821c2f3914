# Sourced by the commands beside it: makes the Python environment and puts it first on PATH.
#
#   make_env DIR REQUIREMENTS...
#
# An environment whose requirement files and Python are unchanged is used as it is. Where CI=true the commands use an
# environment of their own, made anew whenever requirements.txt changes, so that nothing left from earlier work hides a
# missing requirement. PYTHON names the interpreter (3.11), VENV the folder.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [ "${CI:-}" = true ]; then VENV="${VENV:-$ROOT/.venv-ci}"; else VENV="${VENV:-$ROOT/.venv}"; fi

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 was not found: install it, or name it: PYTHON=/path/to/python3.11 $0" >&2
    return 1
}

make_env() {
    local dir="$1" stamp python file args=() missing=()
    shift
    stamp="$dir/.requirements.sha256"
    "$dir/bin/python" -c '' 2>/dev/null || rm -f "$stamp"
    for file in "$@"; do
        args+=(-r "$file")
        grep -qxF "$(sha256sum <"$file")" "$stamp" 2>/dev/null || missing+=("$file")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "${missing[0]}" = "$1" ]; then # another set of packages, not only one more on top
            rm -f "$stamp"
            if [ "${CI:-}" = true ] || ! "$dir/bin/python" -c '' 2>/dev/null; then
                python="$(find_python)" || return 1
                "$python" -m venv --clear "$dir" || return 1
            fi
        fi
        echo "installing into $dir"
        "$dir/bin/python" -m pip install -qq --disable-pip-version-check "${args[@]}" || return 1
        for file in "${missing[@]}"; do sha256sum <"$file" >>"$stamp"; done
    fi
    export PATH="$dir/bin:$PATH" VIRTUAL_ENV="$dir"
}
