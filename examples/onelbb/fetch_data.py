"""Get the published likelihood of the 1Lbb search from HEPData and write the two tables that the example reads.

``python examples/onelbb/fetch_data.py --out DIR`` downloads ``1Lbb-likelihoods-hepdata.tar.gz`` (a few MB,
doi:10.17182/hepdata.90607.v3/r3), ``--archive FILE`` takes one that is there already, also in a zip. Then:
``idds-core run examples/onelbb/scan.py --set data=DIR``.

``DIR/background.csv`` is made from nominal counts, before any fit; `onelbb_likelihood.py` says how it differs from the
published table. ``DIR/signal_and_cls.csv`` has the nominal signal yields, and CLs of the full likelihood only with
``--cls FILE``: JSON of fits made elsewhere, ``{"C1N2_Wh_hbb_1000_0": {"CLs_obs": 0.59, "CLs_exp": [five]}, ...}``. The
scan does not need them.

Nothing of the archive is extracted to disk. What is wrong is told, one line each. Exit codes: 0 fine, 3 the download or
the disk failed, 4 bad input.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn

import onelbb_likelihood as likelihood

URL = "https://doi.org/10.17182/hepdata.90607.v3/r3"
#: The server offers a page about the file, unless it is asked for the file.
HEADERS = {"Accept": "application/x-tar, application/zip", "Accept-Encoding": "identity"}
MAX_DOWNLOAD, MAX_UNPACKED = 100_000_000, 500_000_000
"""Bytes of the archive, and of what is in it."""
SILENCE_S, MAX_TIME_S = 60.0, 900.0
"""How long the server may say nothing, and how long a download may take."""
FILES = ("BkgOnly.json", "patchset.json")
_CHUNK = 1 << 16
_BROKEN = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class FetchError(Exception):
    """A line about what failed, and the exit code."""

    def __init__(self, line: str, code: int = 4) -> None:
        super().__init__(line)
        self.code = code


# ---------------------------------------------------------------------- download
def download(url: str) -> bytes:
    """The bytes of the archive; redirects are followed, size and time are bounded."""
    import httpx

    end = time.monotonic() + MAX_TIME_S
    content = bytearray()
    try:
        with httpx.stream("GET", url, headers=HEADERS, follow_redirects=True, timeout=SILENCE_S) as answer:
            if answer.status_code != 200:
                raise FetchError(f"{answer.url} answers {answer.status_code}. Download it by hand: --archive FILE", 3)
            for chunk in answer.iter_raw(_CHUNK):
                content += chunk
                if len(content) > MAX_DOWNLOAD:
                    raise FetchError(f"{answer.url} sends more than {MAX_DOWNLOAD} bytes: this is not the archive", 3)
                if time.monotonic() > end:
                    raise FetchError(f"{answer.url} has not sent everything in {MAX_TIME_S:g} s. Try again", 3)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = str(error) or type(error).__name__
        raise FetchError(f"{url} cannot be downloaded: {text}. Try again, or --archive FILE", 3) from None
    return bytes(content)


# ---------------------------------------------------------------------- archive
def unpack(archive: bytes) -> dict[str, bytes]:
    """The files of the likelihood that are in the archive, by name; nothing is extracted.

    An archive that is broken, too large, or holds what the published one does not, is refused.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(archive)):
            archive = _unzip(archive)
        with tempfile.TemporaryFile() as plain:  # first whole, up to a bound: a header may claim any size
            with gzip.GzipFile(fileobj=io.BytesIO(archive)) as packed:
                _copy(packed, plain)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:") as tar:
                return _members(tar)
    except _BROKEN as error:
        text = str(error) or type(error).__name__
        raise FetchError(f"the archive cannot be read, it is broken or no .tar.gz: {text}") from None


def _unzip(archive: bytes) -> bytes:
    """The .tar.gz that a zip is around."""
    with zipfile.ZipFile(io.BytesIO(archive)) as outer:
        inside = [i for i in outer.infolist() if i.filename.endswith((".tar.gz", ".tgz")) and not _odd(i.filename)]
        if len(inside) != 1:
            raise FetchError(f"the zip holds {len(inside)} .tar.gz files; one is expected")
        with outer.open(inside[0]) as file:
            content = file.read(MAX_DOWNLOAD + 1)
    if len(content) > MAX_DOWNLOAD:
        raise FetchError(f"{inside[0].filename} in the zip is larger than {MAX_DOWNLOAD} bytes")
    return content


def _odd(name: str) -> bool:
    """Whether a name leads elsewhere, or is the shadow of a file that macOS adds."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or path.name.startswith("._")


def _copy(source: gzip.GzipFile, target: IO[bytes]) -> None:
    left = MAX_UNPACKED
    while data := source.read(_CHUNK):
        left -= len(data)
        if left < 0:
            raise FetchError(f"the archive unpacks to more than {MAX_UNPACKED} bytes")
        target.write(data)


def _members(tar: tarfile.TarFile) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in tar:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise FetchError(f"the archive holds {member.name!r}, which leads out of it")
        if member.issparse() or not (member.isfile() or member.isdir()):
            raise FetchError(f"the archive holds {member.name!r}, which is no plain file")
        if name.name in FILES and member.isfile():
            if name.name in found:
                raise FetchError(f"the archive holds {name.name} twice")
            file = tar.extractfile(member)
            content = file.read() if file is not None else b""
            if len(content) != member.size:
                raise FetchError(f"{name.name} ends after {len(content)} of {member.size} bytes")
            found[name.name] = content
    missing = [name for name in FILES if name not in found]
    if missing:
        raise FetchError(f"the archive does not hold {' and '.join(missing)}")
    return found


def parsed(content: bytes, name: str) -> Any:
    """JSON, without the NaN and infinities that Python would take."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number of JSON")

    try:
        return json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise FetchError(f"{name} is not JSON: {error}") from None


# ---------------------------------------------------------------------- tables
def write(folder: Path, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Write the tables; whenever it dies, there are two old ones, fewer than two, or two new ones, and none by half."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: folder / f".{name}.part" for name in tables}
    try:
        for name, rows in tables.items():
            with parts[name].open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, [*rows[0]])
                writer.writeheader()
                writer.writerows(
                    {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
                )
                file.flush()
                os.fsync(file.fileno())
        for name in tables:
            (folder / name).unlink(missing_ok=True)
        for name, part in parts.items():
            part.replace(folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def convert(archive: bytes, cls: bytes | None = None) -> dict[str, list[dict[str, Any]]]:
    """File name -> rows, from the archive and, if given, from results of the full likelihood."""
    files = unpack(archive)
    workspace, patchset = (parsed(files[name], name) for name in FILES)
    tables, mistakes = dict[str, list[dict[str, Any]]](), list[str]()
    try:
        tables["background.csv"] = likelihood.background(workspace)
    except likelihood.LayoutError as error:
        mistakes += error.mistakes
    try:
        rows = likelihood.signal(workspace, patchset)
        tables["signal_and_cls.csv"] = likelihood.add_cls(rows, parsed(cls, "--cls")) if cls is not None else rows
    except likelihood.LayoutError as error:
        mistakes += [line for line in error.mistakes if line not in mistakes]
    if mistakes:
        raise likelihood.LayoutError(mistakes)
    return tables


def _fetch(given: argparse.Namespace) -> None:
    archive = given.archive.read_bytes() if given.archive else download(given.url)
    digest = hashlib.sha256(archive).hexdigest()
    print(f"archive: {len(archive)} bytes, sha256 {digest}")
    if given.sha256 and digest != given.sha256.lower():
        raise FetchError(f"the archive is not the one that was asked for: sha256 is {digest}, not {given.sha256}")
    tables = convert(archive, given.cls.read_bytes() if given.cls else None)
    write(given.out, tables)
    for name, rows in tables.items():
        print(f"{given.out / name}: {len(rows)} rows")


def main(arguments: Sequence[str] | None = None) -> int:
    """Get, check, convert, write."""
    parser = argparse.ArgumentParser(description="Get the published 1Lbb likelihood and write the example's tables.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two tables")
    parser.add_argument("--archive", type=Path, help="an archive that is there already, instead of a download")
    parser.add_argument("--url", default=URL, help=f"where to download it from (default: {URL})")
    parser.add_argument("--sha256", help="refuse an archive with another checksum")
    parser.add_argument("--cls", type=Path, help="JSON with CLs of the full likelihood")
    try:
        _fetch(parser.parse_args(arguments))
    except likelihood.LayoutError as error:
        lines = [*error.mistakes[:20], *([f"and {len(error.mistakes) - 20} more"] if len(error.mistakes) > 20 else [])]
        print(*lines, sep="\n", file=sys.stderr)
        return 4
    except FetchError as error:
        print(error, file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"{error.filename or 'disk'}: {error.strerror or error}", file=sys.stderr)
        return 4 if isinstance(error, FileNotFoundError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
