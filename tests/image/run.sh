#!/usr/bin/env bash
# The image's root file system, made by the Dockerfile's own steps out of Debian's packages and entered read-only as its
# user (bubblewrap), against the lab's RIC: image_checks.py. usage: tests/image/run.sh PYTHON [PYTEST ARGUMENTS]
# Exit status: the checks'; 77 = mmdebstrap or bubblewrap is not here and could not be installed, or may not make a root
# (one line says why).
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
PYTHON=$1
shift

# 77: not here; pytest has no such status.
cannot() {
    echo "image: not tested: $*"
    exit 77
}

if ! command -v mmdebstrap >/dev/null || ! command -v bwrap >/dev/null; then
    as_root=()
    [[ $EUID -eq 0 ]] || as_root=(sudo -n)
    command -v apt-get >/dev/null || cannot "there is no apt-get to install mmdebstrap and bubblewrap"
    "${as_root[@]}" apt-get update >/dev/null 2>&1 || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mmdebstrap bubblewrap \
        >/dev/null 2>&1 || cannot "mmdebstrap and bubblewrap cannot be installed"
fi
bwrap --ro-bind / / true 2>/dev/null || cannot "bubblewrap may make no namespaces here"

cd "$ROOT"
exec "$PYTHON" -m pytest -q -p no:cacheprovider tests/image/image_checks.py "$@"
