"""On which kind of file system a file is."""

from __future__ import annotations

import re
from pathlib import Path

_ESCAPED = re.compile(r"\\(040|011|012|134)")
"""How the kernel writes blanks, tabs, line ends and backslashes in a path."""
NETWORK = ("nfs", "cifs", "smb", "ncp", "afs", "ceph", "lustre", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "gfs2")


SHARED = ("9p", "virtiofs", "vboxsf", "prl_fs", "fuse.vmhgfs-fuse", "fuse.grpcfuse", "fuse.osxfs")
"""Directories of the host in a virtual machine or container: whether locks hold between the two, depends."""
MOUNTS = Path("/proc/self/mountinfo")


def network_filesystem(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of network file system that `path` is on; '' for local ones, and where nobody can tell."""
    kind = _kind(path, mounts)
    return kind if kind.startswith(NETWORK) else ""


def shared_filesystem(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of file system that `path` is on if it belongs to a host; '' for others."""
    kind = _kind(path, mounts)
    return kind if kind in SHARED else ""


def _kind(path: Path, mounts: Path) -> str:
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    where = str(path.absolute().parent.resolve() / path.name)
    found = ("", "")
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = _ESCAPED.sub(lambda hit: chr(int(hit[1], 8)), mount.split(" ")[4])
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):
            found = (point, rest.split(" ")[0])
    return found[1]
