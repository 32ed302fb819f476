#!/bin/bash
# Makes a Debian 13 with its Python in a directory, unless it is there from the last time.
#
#   tests/debian.sh DIRECTORY
#
# The packages come from where this machine's apt has its own. Needs to be root, debootstrap, and the network.
set -euo pipefail

root=${1:?a directory of its own is needed: without one, what lies in / would be changed}
[ "$(realpath -m "$root")" != / ] || { echo "a directory of its own is needed: what lies in / would be changed"; exit 1; }
[ ! -e "$root/made" ] || exit 0

[ "$(id -u)" = 0 ] || { echo "a Debian in a directory is made by root only"; exit 1; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap"; exit 1; }
mirror=$(apt-get indextargets --format '$(REPO_URI) $(SUITE)' 'Created-By: Packages' 'Origin: Debian' |
    awk '$2 !~ /security|updates/ { print $1; exit }')
[ -n "$mirror" ] || { echo "apt names no mirror of Debian"; exit 1; }
script=/usr/share/debootstrap/scripts/trixie
[ -e "$script" ] || script=${script%/*}/sid

mkdir -p "$root"
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates trixie "$root" "$mirror" "$script"
touch "$root/made"
