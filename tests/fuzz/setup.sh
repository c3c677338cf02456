#!/bin/sh
# atheris for `make fuzz`, exactly as requirements-fuzz.lock says, in a folder of its own: no role and no other test sees
# it. Where it cannot be installed, the reason is printed and the status is 1. Reads BIN and FUZZ_PACKAGES.
set -eu

LOCK=requirements-fuzz.lock
stamp="$FUZZ_PACKAGES/.made-from"
want="$("$BIN/python" --version) $(sha256sum <"$LOCK" | cut -d' ' -f1)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi
rm -rf "$FUZZ_PACKAGES"
if why=$("$BIN/pip" install -qq --disable-pip-version-check --require-hashes --only-binary :all: \
    --target "$FUZZ_PACKAGES" -r "$LOCK" 2>&1); then
    printf '%s' "$want" >"$stamp"
else
    rm -rf "$FUZZ_PACKAGES"
    printf 'fuzz: skipped, atheris cannot be installed here: %s\n' "$(printf '%s' "$why" | tail -n 1)" >&2
    exit 1
fi
