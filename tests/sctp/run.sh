#!/usr/bin/env bash
# The tests of the E2 transport on a kernel that has SCTP, wherever this one has none: Debian's user-mode-linux boots in
# about a minute, without privileges. usage: tests/sctp/run.sh PYTHON [PYTEST ARGUMENTS]
# Exit status: the tests'; 77 = there is no such kernel here and it could not be installed (one line says why).
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
PYTHON=$1
shift
TESTS=("$@")
[[ ${#TESTS[@]} -gt 0 ]] || TESTS=(tests/xapp/lab/e2_link/test_e2_transport.py)
PATIENCE_S=${SCTP_PATIENCE_S:-600}
OPTIONS=(-q -p no:cacheprovider)

# 77: not here; pytest has no such status.
cannot() {
    echo "sctp: not tested: $*"
    exit 77
}

has_sctp() {
    "$PYTHON" -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()' 2>/dev/null
}

if has_sctp; then
    echo "sctp: this kernel has it"
    cd "$ROOT"
    exec "$PYTHON" -m pytest "${OPTIONS[@]}" "${TESTS[@]}"
fi

[[ $(uname -m) == x86_64 ]] || cannot "this kernel has no SCTP, and user-mode-linux is for x86_64, not $(uname -m)"
if ! command -v linux.uml >/dev/null; then
    as_root=()
    [[ $EUID -eq 0 ]] || as_root=(sudo -n)
    command -v apt-get >/dev/null || cannot "this kernel has no SCTP, and there is no apt-get to install user-mode-linux"
    "${as_root[@]}" apt-get update >/dev/null 2>&1 || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends user-mode-linux \
        >/dev/null 2>&1 || cannot "this kernel has no SCTP, and user-mode-linux cannot be installed"
fi

share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
printf '%s\n' "$ROOT" "$PYTHON" -m pytest "${OPTIONS[@]}" "${TESTS[@]}" >"$share/command"
echo "sctp: booting a kernel that has it"
# Its memory is a file in TMPDIR; the console is this terminal, without input.
kernel=(linux.uml mem=2G quiet loglevel=1 root=/dev/root rootfstype=hostfs rootflags=/ ro)
kernel+=(con=null con0=null,fd:1 con1=null,fd:1 "init=$(readlink -f "$PYTHON")" -- "$ROOT/tests/sctp/init.py" "$share")
status=0
TMPDIR=$share timeout --kill-after=5 "$PATIENCE_S" "${kernel[@]}" </dev/null || status=$?
[[ -e $share/booted ]] || cannot "this kernel has no SCTP, and user-mode-linux does not boot here (status $status)"
if [[ ! -s $share/status ]]; then
    echo "sctp: the kernel ended (status $status) before the tests did"
    exit 1
fi
exit "$(<"$share/status")"
