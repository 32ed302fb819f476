#!/bin/bash
# Builds the image of the Dockerfile, and runs tests of what it does: workers, console and service in containers.
#
#   tests/image.sh DIRECTORY [OPTION...]
#
# No registry of images is asked. In place of the image that the Dockerfile begins with stands a Debian 13 with the same
# Python, under its name, in a store of images below the directory. Needs to be root, debootstrap, podman and the network.
set -euo pipefail

place=$(realpath -m "${1:?a directory for the images is needed}")
shift
python=$(awk '$1 == "FROM" { print $2; exit }' Dockerfile)

[ "$(id -u)" = 0 ] || { echo "images are built by root only"; exit 1; }
for program in podman runc; do
    command -v $program >/dev/null || { echo "$program is missing: apt-get install podman runc"; exit 1; }
done
tests/debian.sh "$place/debian"

cat >"$place/storage.conf" <<STORAGE
[storage]
driver = "vfs"
graphroot = "$place/store"
runroot = "$place/run"
STORAGE
# So little is asked of the kernel that it works within a container as well: no network and no higher limits of its own.
cat >"$place/containers.conf" <<CONTAINERS
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
CONTAINERS
export CONTAINERS_STORAGE_CONF=$place/storage.conf CONTAINERS_CONF=$place/containers.conf

if ! podman image exists "docker.io/library/$python"; then
    ln -sf /usr/bin/python3 "$place/debian/usr/local/bin/python"
    tar --create --directory "$place/debian" . |
        podman import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin' - "docker.io/library/$python"
fi

# What pip is told here is lent for the build only, since it may hold a password.
lent=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
[ ! -e /etc/pip.conf ] || lent+=(--volume /etc/pip.conf:/etc/pip.conf:ro)
podman build --isolation chroot --pull=never "${lent[@]}" --tag worksong .
podman image prune --force >/dev/null # what earlier builds have left

WORKSONG_IMAGE=localhost/worksong exec .venv/bin/pytest tests/test_image.py "$@"
