# Which Python `./dev` takes: the newest that runs, or the one that is asked for. Sourced; `stop` is the caller's.

MINORS=(14 13 12 11) # of the Pythons that stackmac runs on, newest first
OS_RELEASE=${OS_RELEASE:-/etc/os-release}

# The interpreter behind a command, if that is Python 3.MINOR and runs: a pyenv shim of a version not chosen does not.
interpreter_of() {
    "$1" -c 'import sys
if sys.version_info[:2] == (3, int(sys.argv[1])): print(getattr(sys, "_base_executable", sys.executable))
else: sys.exit(1)' "$2" 2>/dev/null
}

# Of the commands on standard input, the first that is Python 3.MINOR.
first_interpreter() {
    local candidate
    while IFS= read -r candidate; do
        if interpreter_of "$candidate" "$1"; then
            return
        fi
    done
    return 1
}

find_python() {
    first_interpreter "$1" < <(type -aP "python3.$1")
}

# What pyenv and uv have installed but do not put on the path.
find_stored_python() {
    local pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions uv=${UV_PYTHON_INSTALL_DIR:-${HOME:-}/.local/share/uv/python}
    first_interpreter "$1" < <(compgen -G "$pyenv/3.$1.*/bin/python3.$1" | sort -rV
        compgen -G "$uv/cpython-3.$1.*/bin/python3.$1" | sort -rV)
}

find_anywhere() {
    find_python "$1" || find_stored_python "$1"
}

# The newest Python that FIND finds.
newest_python() {
    local minor
    for minor in "${MINORS[@]}"; do
        if BASE=$("$1" "$minor"); then
            MINOR=$minor
            return
        fi
    done
    return 1
}

# Of the distribution: FIELD... of its os-release, the first that is there.
os_release() {
    local field
    # shellcheck disable=SC1090
    . "$OS_RELEASE" 2>/dev/null || true
    for field in "$@"; do
        if [[ -n ${!field:-} ]]; then
            echo "${!field}"
            return
        fi
    done
    echo "this system"
}

# What the distribution packages, of the Pythons that we run on; derivatives name the codename that they are based on.
distribution_minor() {
    case $(os_release UBUNTU_CODENAME DEBIAN_CODENAME VERSION_CODENAME) in
    bookworm | jammy) echo 11 ;;
    noble) echo 12 ;;
    trixie) echo 13 ;;
    resolute) echo 14 ;;
    esac
}

# Sets MINOR, as asked for or the newest, and BASE: its interpreter, empty if it has to be installed first.
choose_python() {
    local packaged
    MINOR=$1 BASE=""
    if [[ -n $MINOR ]]; then
        BASE=$(find_anywhere "$MINOR") || true
    else
        newest_python find_python || newest_python find_stored_python || true
    fi
    if [[ -z $BASE ]]; then
        packaged=$(distribution_minor)
        if [[ -n $MINOR && $MINOR != "$packaged" ]]; then
            stop "Python 3.$MINOR is not here; please install it (pyenv and uv can)"
        elif [[ -z $packaged ]]; then
            stop "no Python from 3.11 to 3.14 is here; please install one on $(os_release PRETTY_NAME NAME) (pyenv and uv can)"
        fi
        MINOR=$packaged
    fi
}
