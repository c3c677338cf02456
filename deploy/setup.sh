#!/bin/sh
# Set up a checkout on Debian or Ubuntu: system packages where they are missing, then a virtual environment exactly as
# requirements.lock says. Quick when there is nothing to do. Reads PYTHON and VENV; with TESTS, also what single tests
# need, and skip without.
set -eu

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}

fail() { printf 'setup: %s\n' "$1" >&2; exit 2; }

missing=''
command -v "$PYTHON" >/dev/null 2>&1 || missing="$missing python3"
command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
if command -v "$PYTHON" >/dev/null 2>&1; then
    "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
else
    missing="$missing python3-venv"
fi

for_tests=''
for command in ${TESTS:+age strace}; do
    command -v "$command" >/dev/null 2>&1 || for_tests="$for_tests $command"
done

if [ -n "$missing$for_tests" ]; then
    install="apt-get update -qq && apt-get install -y -qq --no-install-recommends$missing$for_tests"
    if [ "$(id -u)" = 0 ]; then
        as_root='env'
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root='sudo -n env'
    elif [ -n "$missing" ]; then
        fail "these system packages are missing:$missing$for_tests. Run:  sudo apt-get install$missing$for_tests"
    else
        as_root=''
        printf 'setup: some tests will be skipped. For them:  sudo apt-get install%s\n' "$for_tests" >&2
    fi
    if [ -n "$as_root" ]; then
        printf 'setup: installing%s\n' "$missing$for_tests" >&2
        $as_root DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null || fail "apt could not install$missing$for_tests"
    fi
fi

"$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
    fail "$("$PYTHON" --version) is not supported: set PYTHON= to a Python from 3.10 to 3.13"

stamp="$VENV/.made-from"
want="$("$PYTHON" --version) $(cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)"
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
    printf 'setup: making %s from requirements.lock\n' "$VENV" >&2
    "$PYTHON" -m venv --clear "$VENV"
    "$VENV/bin/pip" install -qq --disable-pip-version-check --require-hashes -r requirements.lock ||
        fail 'a package could not be installed; is a package index configured and reachable?'
    "$VENV/bin/pip" install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index -e . ||
        fail 'this checkout could not be installed into the environment'
    printf '%s' "$want" >"$stamp"
fi
