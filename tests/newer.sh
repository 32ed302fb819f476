#!/bin/bash
# Runs tests on the Python of Debian 13, and on Django 6, which needs it: in a Debian of its own, below a directory.
#
#   tests/newer.sh DIRECTORY [TEST | OPTION...]
#
# The packages come from where this machine's apt has its own. Needs to be root, debootstrap, and the network. What was
# made stays in the directory for the next time; the sources are copied anew each time, as far as git knows them.
set -euo pipefail

root=${1:?a directory of its own is needed: without one, what lies in / would be changed}
shift
[ "$(realpath -m "$root")" != / ] || { echo "a directory of its own is needed: what lies in / would be changed"; exit 1; }
tests=(tests/unit tests/frameworks tests/test_docs.py tests/test_examples.py)
for argument; do [ ! -e "${argument%%::*}" ] || tests=(); done # who names tests wants no others
tests+=("$@")

[ "$(id -u)" = 0 ] || { echo "a Debian in a directory is made by root only; with Python 3.12 or newer on the PATH: make setup PYTHON=..."; exit 1; }
"$(dirname "$0")/debian.sh" "$root"

cp /etc/resolv.conf /etc/hosts "$root/etc/"
authorities=/etc/ssl/certs/ca-certificates.crt
[ ! -e $authorities ] || cp $authorities "$root/etc/ssl/certs/"
rm -f "$root/etc/pip.conf" && touch "$root/etc/pip.conf"
rm -rf "$root/project/sources" && mkdir -p "$root/project/sources"
git ls-files -z | tar --null --files-from=- --create --file=- | tar --extract --file=- --directory="$root/project/sources"

# What pip is told here is lent for the run only, since it may hold a password.
# shellcheck disable=SC2016  # the variables are those of the shell inside
unshare --mount bash -c '
    set -e
    mount -t proc proc "$0/proc"
    [ ! -e /etc/pip.conf ] || mount --bind /etc/pip.conf "$0/etc/pip.conf"
    exec chroot "$0" /bin/bash -c "$1" inside "${@:2}"' "$root" '
    set -euo pipefail
    export LANG=C.UTF-8
    cd /project/sources
    [ -x /project/venv/bin/python ] || python3 -m venv /project/venv
    grep -vi "^django==" constraints.txt > /project/constraints.txt
    /project/venv/bin/pip install --quiet --constraint /project/constraints.txt --editable ".[all,dev]" "django>=6,<7"
    /project/venv/bin/python -c "import sys, django; print(\"Python\", sys.version.split()[0], \"Django\", django.__version__)"
    exec /project/venv/bin/pytest "$@"
' "${tests[@]}"
