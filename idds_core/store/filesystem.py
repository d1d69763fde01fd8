"""What kind of file system a folder is on: SQLite's WAL needs memory that all its users share, so one machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = ["NETWORK", "is_network", "kind_of"]

#: Kinds of /proc/self/mountinfo that several machines may see.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "afs", "ceph", "glusterfs", "panfs", "pvfs2",
     "orangefs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf", "prl_fs", "wekafs", "daos", "quobyte", "dvs"}
)  # fmt: skip
#: What a user-space file system calls itself behind "fuse.".
_FUSE_NETWORK = ("sshfs", "nfs", "gluster", "ceph", "lustre", "beegfs", "s3", "rclone", "cvmfs", "davfs", "smb", "eos")


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _plain(text: str) -> str:
    r"""A path of mountinfo, in which blanks and the like are octal: ``\040``."""
    return text.encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")


def kind_of(path: Path, mounts: Callable[[], str] = _mounts) -> str:
    r"""Name of the file system under a path (which need not exist yet); empty when it is not known.

    >>> table = "1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 0:5 / /home rw shared:1 - nfs4 server:/home rw\n"
    >>> kind_of(Path("/home/me/run"), lambda: table), kind_of(Path("/homes/me"), lambda: table)
    ('nfs4', 'ext4')
    """
    here = path.resolve()
    best, kind = -1, ""
    for line in mounts().splitlines():
        fields, _, rest = line.partition(" - ")
        words = fields.split(" ")
        if len(words) < 5 or not rest:
            continue
        mount = Path(_plain(words[4]))
        depth = len(mount.parts)
        if depth >= best and here.is_relative_to(mount):  # of two at the same place the later one is on top
            best, kind = depth, rest.split(" ")[0]
    return kind


def is_network(kind: str) -> bool:
    """Whether several machines may see a file system of this kind.

    >>> is_network("nfs4"), is_network("fuse.sshfs"), is_network("ext4"), is_network("fuse.ext4")
    (True, True, False, False)
    """
    name, _, behind = kind.partition(".")
    return kind in NETWORK or (name == "fuse" and behind.startswith(_FUSE_NETWORK))
