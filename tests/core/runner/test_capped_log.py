from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from idds_core.runner import capped_log
from idds_core.runner.capped_log import CappedLog, copy_capped, last_line


def written(path: Path, limit: int, *chunks: bytes) -> CappedLog:
    log = CappedLog(str(path), limit)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    return log


def test_what_fits_is_kept_as_it_is(tmp_path: Path) -> None:
    written(tmp_path / "log", 1000, b"a" * 500, b"b" * 500)
    assert (tmp_path / "log").read_bytes() == b"a" * 500 + b"b" * 500


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 100_000])
def test_head_and_tail_are_kept_however_it_arrives(tmp_path: Path, size: int) -> None:
    data = b"".join(b"%07d\n" % i for i in range(12_500))
    written(tmp_path / "log", 1000, *(data[i : i + size] for i in range(0, len(data), size)))
    kept = (tmp_path / "log").read_bytes()
    head, _, rest = kept.partition(b"\n... ")
    count, _, tail = rest.partition(b" bytes left out ...\n")
    assert data.startswith(head)
    assert data.endswith(tail)
    assert len(head) == 500
    assert len(tail) > 400
    assert len(head) + int(count) + len(tail) == len(data)
    assert len(kept) <= 1000


def test_an_endless_log_needs_bounded_memory(tmp_path: Path) -> None:
    log = CappedLog(str(tmp_path / "log"), 10_000)
    for _ in range(1000):
        log.write(b"x" * 65536)
        assert len(log._tail) <= 10_000 + 65536
    log.close()
    assert (tmp_path / "log").stat().st_size <= 10_000


def test_it_can_be_followed_while_it_is_written(tmp_path: Path) -> None:
    log = CappedLog(str(tmp_path / "log"), 1000)
    log.write(b"first\n")
    assert (tmp_path / "log").read_bytes() == b"first\n"
    log.close()


def test_a_disk_that_refuses_is_told_and_never_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, data: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(capped_log, "write_all", refuse)
    log = written(tmp_path / "log", 1000, b"a\n" * 400, b"the end\n")
    assert log.error is not None
    assert log.error.errno == errno.ENOSPC
    assert log.last_line() == "the end"


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    log = written(tmp_path / "nowhere" / "log", 1000, b"a")
    assert log.error is not None


@pytest.mark.parametrize(("size", "whole"), [(0, True), (1000, True), (1001, False), (1_000_000, False)])
def test_a_copy_has_head_and_tail(tmp_path: Path, size: int, whole: bool) -> None:
    data = bytes(i % 251 for i in range(size))
    (tmp_path / "from").write_bytes(data)
    fd = os.open(tmp_path / "from", os.O_RDONLY)
    copy_capped(fd, str(tmp_path / "to"), 1000)
    os.close(fd)
    copied = (tmp_path / "to").read_bytes()
    assert (copied == data) is whole
    assert len(copied) <= 1000
    assert copied[:400] == data[:400]
    assert copied[-400:] == data[-400:]


def test_the_last_line_is_printable() -> None:
    assert last_line(b"one\ntwo \xff\x00\x1b[31m\n\n  \n") == "two \ufffd  [31m"
    assert last_line(b"") == ""
