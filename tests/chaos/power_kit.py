"""What a power cut leaves of a work folder: recorded calls of a real run, replayed up to a moment into an image.

The model is that of a journaling file system with delayed allocation. Names (create, rename, unlink, mkdir) reach the
disk in order; whatever waits for any file to be durable takes along all names before it. The bytes of a file are
durable when that file was synced after they were written; all others may be there, be missing, or be torn by sectors,
each independently of the others. A file that has a name and no bytes yet is therefore an ordinary sight.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["HOW", "Event", "Image", "Recording", "record"]

SECTOR = 512
#: what becomes of bytes that were not durable
HOW = ("kept", "dropped", "some", "torn")
_CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,lseek,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,unlink,unlinkat,rmdir,rename,renameat,renameat2,mkdir,mkdirat,link,linkat,symlink,chmod,fchmod,fchmodat"
)
_LINE = re.compile(r"^(\d+) +(.*)$", re.DOTALL)
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)(?:<[^>]*>)?.*$", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$", re.DOTALL)
_ARGUMENT = re.compile(r'\s*(?:(?:AT_FDCWD|\d+)<([^>]*)>(?:\(deleted\))?|"((?:\\x[0-9a-f]{2})*)"|([^,]+))')


class Event(NamedTuple):
    """One call that matters: what, of which file, with what; `since` is the number of calls when it began."""

    kind: str
    file: int = -1
    path: str = ""
    other: str = ""
    at: int = 0
    data: bytes = b""
    since: int = 0


@dataclass
class Image:
    """A folder as the disk has it: relative path -> bytes, all folders, and the links to places inside."""

    files: dict[str, bytes]
    folders: set[str]
    modes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def write(self, target: Path) -> None:
        """Make the folder."""
        target.mkdir(parents=True, exist_ok=True)
        for folder in sorted(self.folders):
            (target / folder).mkdir(parents=True, exist_ok=True)
        for path, data in self.files.items():
            (target / path).write_bytes(data)
            if path in self.modes:
                (target / path).chmod(self.modes[path])
        for path, inside in self.links.items():
            (target / path).symlink_to(target / inside)


@dataclass
class Recording:
    """The calls of one run, in the order in which they came back, and what was acknowledged between them."""

    events: list[Event]

    def acknowledged(self, until: int) -> list[str]:
        """What had been told before a moment, line by line."""
        told = b"".join(event.data for event in self.events[:until] if event.kind == "told")
        return told.decode().splitlines()

    def moments(self, count: int, rng: random.Random) -> list[int]:
        """Moments to cut the power at: half of them just before or after something was waited for or told."""
        edges = [i + d for i, event in enumerate(self.events) if event.kind in ("sync", "told") for d in (0, 1)]
        return [rng.choice(edges) if n % 2 else rng.randrange(len(self.events) + 1) for n in range(count)]

    def image(self, until: int, how: str, rng: random.Random, careless: str = "") -> Image:
        """What is on the disk when the power goes after `until` calls.

        careless : end of the names of files at which waiting does nothing; a disk that lies.
        """
        synced: dict[int, int] = {}
        floor = 0
        for event in self.events[:until]:
            if event.kind == "sync" and not (careless and event.path.endswith(careless)):
                synced[event.file] = event.since
                floor = max(floor, event.since)
        cut = {"kept": until, "dropped": floor}.get(how, rng.randint(floor, until))
        names, folders, modes = self._names(cut)
        writes: dict[int, list[tuple[Event, bool]]] = defaultdict(list)
        for number, event in enumerate(self.events[:until]):
            if event.kind in ("write", "cut"):
                writes[event.file].append((event, number < synced.get(event.file, 0)))
        links = {event.path: event.other for event in self.events[:cut] if event.kind == "link"}
        links = {path: links[path] for path in links if path in names}
        files = {path: _content(writes[file], how, rng) for path, file in names.items() if path not in links}
        return Image(files, folders, {path: modes[names[path]] for path in files if names[path] in modes}, links)

    def _names(self, cut: int) -> tuple[dict[str, int], set[str], dict[int, int]]:
        names: dict[str, int] = {}
        folders: set[str] = set()
        modes: dict[int, int] = {}
        for event in self.events[:cut]:
            match event.kind:
                case "create" | "link":
                    names[event.path] = event.file
                case "mkdir":
                    folders.add(event.path)
                case "mode":
                    modes[event.file] = event.at
                case "unlink" | "rename":
                    _rename(names, folders, event.path, event.other)
        return names, folders, modes


def _rename(names: dict[str, int], folders: set[str], old: str, new: str) -> None:
    """Move a name, or a folder with all that is in it; without a new name it goes away."""
    for path in [p for p in (*names, *folders) if p == old or p.startswith(old + "/")]:
        file = names.pop(path, None)
        if file is None:
            folders.discard(path)
            if new:
                folders.add(new + path[len(old) :])
        elif new:
            names[new + path[len(old) :]] = file


def _content(writes: list[tuple[Event, bool]], how: str, rng: random.Random) -> bytes:
    data = bytearray()
    for event, durable in writes:
        keep = durable or how == "kept" or (how in ("some", "torn") and rng.random() < 0.5)
        if event.kind == "cut":
            if not keep:
                break  # blocks that were not given back cannot have been written anew
            del data[event.at :]
            data.extend(bytes(event.at - len(data)))
            continue
        for start, part in _sectors(event):
            if keep if durable or how != "torn" else rng.random() < 0.5:
                data.extend(bytes(max(0, start + len(part) - len(data))))
                data[start : start + len(part)] = part
    return bytes(data)


def _sectors(event: Event) -> list[tuple[int, bytes]]:
    """The parts of a write that go to the disk each for itself."""
    found, at = [], event.at
    while at < event.at + len(event.data):
        end = min((at // SECTOR + 1) * SECTOR, event.at + len(event.data))
        found.append((at, event.data[at - event.at : end - event.at]))
        at = end
    return found


# ---------------------------------------------------------------------- recording
def record(command: list[str], folder: Path, told: Path, trace: Path) -> Recording:
    """Run a command under strace; `folder` is where it writes, `told` is where it says what it has acknowledged."""
    strace = [
        "strace",
        "-f",
        "-y",
        "-xx",
        "-s",
        "10000000",
        "--seccomp-bpf",
        "-e",
        f"trace={_CALLS}",
        "-e",
        "signal=none",
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run([*strace, "-o", str(trace), *command], capture_output=True, text=True, env=environment)
    if ran.returncode not in (0, 2):
        raise AssertionError(f"the recorded run ended with {ran.returncode}: {ran.stderr}")
    reader = _Reader(str(folder) + "/", str(told))
    with trace.open(encoding="latin-1") as lines:
        for line in lines:
            reader.line(line)
    return Recording(reader.events)


class _Reader:
    """Lines of strace, made into events; keeps the names as they are at each moment."""

    def __init__(self, root: str, told: str) -> None:
        self.events: list[Event] = []
        self._root, self._told = root, told
        self._begun: dict[str, tuple[str, int]] = {}
        self._names: dict[str, int] = {}
        self._folders: set[str] = set()
        self._sizes: dict[int, int] = defaultdict(int)
        self._next = 0

    def line(self, line: str) -> None:
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            return
        pid, text = match.groups()
        since = len(self.events)
        if text.endswith(_UNFINISHED):
            self._begun[pid] = text.removesuffix(_UNFINISHED), since
            return
        resumed = _RESUMED.match(text)
        if resumed is not None:
            begun, since = self._begun.pop(pid, ("", since))
            text = begun + resumed[1]
        call = _CALL.match(text)
        if call is not None and int(call[3]) >= 0:
            self._call(call[1], _arguments(call[2]), int(call[3]), since)

    def _call(self, name: str, given: list[str], result: int, since: int) -> None:
        match name:
            case "openat":
                self._open(_joined(given[0], given[1]), given[2])
            case "open" | "creat":
                self._open(given[0], given[1] if name == "open" else "O_CREAT|O_TRUNC")
            case "write" | "pwrite64":
                self._write(
                    given[0], given[1].encode("latin-1")[:result], int(given[3]) if name == "pwrite64" else None
                )
            case "ftruncate":
                self._cut(given[0], int(given[1]))
            case "fsync" | "fdatasync":
                self._sync(given[0], since)
            case "unlink" | "rmdir":
                self._rename(given[0], "")
            case "unlinkat":
                self._rename(_joined(given[0], given[1]), "")
            case "rename":
                self._rename(given[0], given[1])
            case "renameat" | "renameat2":
                self._rename(_joined(given[0], given[1]), _joined(given[2], given[3]))
            case "mkdir" | "mkdirat":
                self._mkdir(given[0] if name == "mkdir" else _joined(given[0], given[1]))
            case "symlink":
                self._link(given[1], given[0])
            case "chmod" | "fchmod" | "fchmodat":
                self._mode(_joined(given[0], given[1]) if name == "fchmodat" else given[0], given[-1])
            case _:
                self._refuse(name, given)

    def _inside(self, path: str) -> str | None:
        path = os.path.normpath(path)
        return path[len(self._root) :] if path.startswith(self._root) and not path.endswith("-shm") else None

    def _refuse(self, name: str, given: list[str]) -> None:
        """A call that the model does not know must not go unseen."""
        if name not in ("lseek", "fallocate") and any(self._inside(text) for text in given if text.startswith("/")):
            raise AssertionError(f"{name}{given} is not part of the model")

    def _open(self, path: str, flags: str) -> None:
        inside = self._inside(path)
        if inside is None or ("O_CREAT" not in flags and "O_TRUNC" not in flags):
            return
        if inside not in self._names:
            self._next += 1
            self._names[inside] = self._next
            self.events.append(Event("create", self._next, inside))
        elif "O_TRUNC" in flags:
            self._cut(path, 0)

    def _write(self, path: str, data: bytes, at: int | None) -> None:
        if path == self._told:
            self.events.append(Event("told", data=data))
            return
        inside = self._inside(path)
        file = self._names.get(inside or "")
        if inside is None or file is None:
            return
        at = self._sizes[file] if at is None else at  # the plain writes of a run go to the end of their files
        self._sizes[file] = max(self._sizes[file], at + len(data))
        self.events.append(Event("write", file, inside, at=at, data=data))

    def _cut(self, path: str, size: int) -> None:
        inside = self._inside(path)
        file = self._names.get(inside or "")
        if inside is not None and file is not None:
            self._sizes[file] = size
            self.events.append(Event("cut", file, inside, at=size))

    def _sync(self, path: str, since: int) -> None:
        inside = self._inside(path)
        if inside is not None or os.path.normpath(path) + "/" == self._root:
            self.events.append(Event("sync", self._names.get(inside or "", -1), inside or "", since=since))

    def _rename(self, old: str, new: str) -> None:
        source, target = self._inside(old), self._inside(new) if new else ""
        if source is not None and target is not None:
            _rename(self._names, self._folders, source, target)
            self.events.append(Event("rename" if target else "unlink", path=source, other=target))

    def _mkdir(self, path: str) -> None:
        inside = self._inside(path)
        if inside is not None:
            self._folders.add(inside)
            self.events.append(Event("mkdir", path=inside))

    def _link(self, path: str, target: str) -> None:
        inside, where = self._inside(path), self._inside(target)
        if inside is not None and where is not None:
            self._next += 1
            self._names[inside] = self._next
            self.events.append(Event("link", self._next, inside, other=where))

    def _mode(self, path: str, mode: str) -> None:
        file = self._names.get(self._inside(path) or "")
        if file is not None:
            self.events.append(Event("mode", file, at=int(mode, 8) & 0o7777))


def _arguments(text: str) -> list[str]:
    """Paths of descriptors, strings as they are, and all else as words."""
    found = []
    for match in _ARGUMENT.finditer(text):
        descriptor, string, word = match.groups()
        if string is not None:
            found.append(_text(string))
        elif descriptor is not None:
            found.append(_text(descriptor) if descriptor.startswith("\\x") else descriptor)
        elif word.strip():
            found.append(word.strip())
    return found


def _text(hexed: str) -> str:
    return bytes.fromhex(hexed.replace("\\x", "")).decode("latin-1")


def _joined(folder: str, path: str) -> str:
    return str(Path(folder, path))
