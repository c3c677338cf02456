#!/bin/sh
# The environment of the software that `make bench` measures against, exactly as requirements-bench.lock says. Where that
# cannot be installed, the reason is printed and the bench goes on without. Reads PYTHON and BENCH_VENV.
set -eu

PYTHON=${PYTHON:-python3}
BENCH_VENV=${BENCH_VENV:-.venv-bench}
LOCK=requirements-bench.lock

install() { "$BENCH_VENV/bin/pip" install -qq --disable-pip-version-check --require-hashes "$@" 2>&1; }

stamp="$BENCH_VENV/.made-from"
want="$("$PYTHON" --version) $(sha256sum <"$LOCK" | cut -d' ' -f1)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi
printf 'bench: making %s from %s\n' "$BENCH_VENV" "$LOCK" >&2
"$PYTHON" -m venv --clear "$BENCH_VENV"
# First what builds the one package that has no wheel; nothing else may be built, dlib and OpenCV take half an hour.
awk '/^setuptools==/ { on = 1 } on { print; if (!/\\$/) exit }' "$LOCK" >"$BENCH_VENV/setuptools.lock"
if why=$(install --only-binary :all: -r "$BENCH_VENV/setuptools.lock") &&
    why=$(install --only-binary :all: --no-binary face-recognition-models --no-build-isolation -r "$LOCK"); then
    printf '%s' "$want" >"$stamp"
else
    rm -rf "$BENCH_VENV"
    printf 'bench: the others cannot be installed here, and are left out: %s\n' "$(printf '%s' "$why" | tail -n 1)" >&2
fi
