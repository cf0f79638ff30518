#!/bin/sh
# Looks for what pip cannot bring, before anything is built: a Python that is new enough, its venv
# and ensurepip, a C compiler and the headers of that very Python.
#
#   tools/preflight.sh              prints the Python to use; or says what is missing, status 1
#   tools/preflight.sh --packages   prints the apt packages that are missing, and nothing if none is
#
# With PYTHON=... it looks at that one alone.
set -u
here=$(dirname "$0")

# A launcher that only pretends to be there, as pyenv's, fails this too.
new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Sets python to the first that lacks nothing, else to the first that is new enough, and missing
# to what that one lacks.
choose() {
    python='' missing=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        new_enough "$candidate" || continue
        lacks=$("$candidate" "$here/preflight.py") || exit 1
        if [ -z "$python" ] || [ -z "$lacks" ]; then
            python=$candidate missing=$lacks
        fi
        [ -n "$lacks" ] || return 0
    done
    [ -z "$python" ] || return 0
    # The distribution's python3 is too old or absent. Ubuntu 22.04 has 3.11 beside its own.
    name=python3
    if command -v python3 >/dev/null; then name=python3.11; fi
    missing="$name Python 3.11 or later (${PYTHON:+$PYTHON is not; }Debian 12, Ubuntu 24.04 and newer have it)
$name-venv its modules venv and ensurepip
$name-dev its Python.h"
    command -v cc >/dev/null || missing="$missing
gcc a C compiler
libc6-dev the headers of the C library"
}

choose
packages=$(printf '%s\n' "$missing" | while read -r package _; do printf '%s ' "$package"; done)
packages=${packages% }
if [ "${1:-}" = --packages ]; then
    printf '%s\n' "$packages"
elif [ -z "$packages" ]; then
    printf '%s\n' "$python"
else
    {
        echo "Before this can be built, this machine needs:"
        printf '%s\n' "$missing" | while read -r package what; do
            printf '  %-18s %s\n' "$package" "$what"
        done
        echo "On Debian, Ubuntu and Raspberry Pi OS copy this line, then run the same make again:"
        echo "  sudo apt-get install $packages"
    } >&2
    exit 1
fi
