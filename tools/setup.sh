#!/bin/sh
# Makes .venv from uv.lock; `make` calls it when the lock is newer than .venv/.from-lock.
# Needs Python 3.11 to 3.13 with venv, and OpenMP for LightGBM; what is missing is said in one line.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 1
}

# Prints what is wrong with a Python, and nothing when it will do.
fault() {
    command -v "$1" >/dev/null || { echo "is not there"; return; }
    "$1" -c '
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    print("is version %d.%d" % sys.version_info[:2])
else:
    try:
        import ensurepip, venv
    except ImportError:
        print("comes without venv")
' 2>/dev/null || echo "does not start"
}

find_python() {
    faults=
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        fault=$(fault "$python")
        [ -n "$fault" ] || return 0
        [ "$fault" = "is not there" ] && [ -z "${PYTHON:-}" ] || faults="$faults${faults:+, }$python $fault"
    done
    case $faults in
    *"without venv"*) fail "$faults: install it (Debian, Ubuntu: apt-get install python3-venv), then make again" ;;
    esac
    fail "${faults:-no python3 on PATH}: install Python 3.11, 3.12 or 3.13" \
        "(Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)" \
        "or name one: PYTHON=/path/to/python3 make"
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    find_python
    echo "setup: .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

case $(uname -s) in
Linux)
    .venv/bin/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ||
        fail "libgomp, which LightGBM needs, is missing: install it" \
            "(Debian, Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp; Alpine and musl are not supported)"
    ;;
Darwin)
    [ -d /opt/homebrew/opt/libomp ] || [ -d /usr/local/opt/libomp ] ||
        fail "libomp, which LightGBM needs, is missing: brew install libomp"
    ;;
*) fail "runs on Linux and macOS; elsewhere: docker compose up --build" ;;
esac

uv=$(sed -n '/^name = "uv"$/{n;s/^version = "\(.*\)"$/\1/p;}' uv.lock)
if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$uv" ]; then
    echo "setup: uv $uv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv"
fi

echo "setup: the packages of uv.lock (about 1 GB the first time)"
[ -t 2 ] && quiet= || quiet=--quiet # its progress bar needs a terminal; its list of packages needs nobody
.venv/bin/uv sync --frozen --python .venv/bin/python $quiet
touch .venv/.from-lock
