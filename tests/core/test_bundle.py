"""The bundle: the copy of the source that workers run."""

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idds_core import bundle as bundle_module
from idds_core.bundle import make_bundle
from idds_core.errors import DefinitionError


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "scan.py").write_text("import sub\n", encoding="utf-8")
    (source / "sub" / "helper.py").write_text("X = 1\n", encoding="utf-8")
    (source / "mc.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (source / "mc.sh").chmod(0o755)
    return source


@pytest.fixture
def bundles(tmp_path: Any) -> Any:
    (tmp_path / "bundles").mkdir()
    return tmp_path / "bundles"


def files(path: Any) -> Any:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


def test_the_copy_is_the_source(folder: Any, bundles: Any) -> None:
    digest, path = make_bundle(folder, bundles)
    assert path == bundles / digest
    assert files(path) == ["mc.sh", "scan.py", "sub/helper.py"]
    assert (path / "sub" / "helper.py").read_text(encoding="utf-8") == "X = 1\n"
    assert os.access(path / "mc.sh", os.X_OK)
    assert [p.name for p in bundles.iterdir()] == [digest]


def test_the_same_content_is_the_same_bundle(folder: Any, bundles: Any, tmp_path: Any) -> None:
    digest, path = make_bundle(folder, bundles)
    before = (path / "scan.py").stat().st_mtime_ns
    os.utime(folder / "scan.py", (1, 1))
    folder.rename(tmp_path / "moved")
    assert make_bundle(tmp_path / "moved", bundles) == (digest, path)
    assert (path / "scan.py").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "scan.py").write_text("import sub \n", encoding="utf-8"),
        lambda f: (f / "more.txt").write_text("", encoding="utf-8"),
        lambda f: (f / "scan.py").rename(f / "scan2.py"),
        lambda f: (f / "sub" / "helper.py").unlink(),
        lambda f: (f / "mc.sh").chmod(0o644),
    ],
)
def test_any_change_makes_another_bundle(folder: Any, bundles: Any, change: Any) -> None:
    first, path = make_bundle(folder, bundles)
    change(folder)
    second, _ = make_bundle(folder, bundles)
    assert second != first
    assert path.is_dir()


@pytest.mark.parametrize(
    "name",
    [
        ".git/config",
        ".hidden",
        "sub/.secret",
        "__pycache__/scan.pyc",
        "sub/__pycache__/x.pyc",
        "old.pyc",
        "node_modules/x.js",
        "venv/lib/x.py",
        "build/x.py",
        "dist/x.whl",
        "demo-scan/it/1/log",
        "run/idds.db",
        "run/it/1/log",
        "data.db",
        "data.db-wal",
        "data.db-shm",
        "data.db-journal",
        "work/it/1/log",
        "look.ipynb",
        "hepdata/submission.yaml",
        "hepdata/contour_obs.yaml",
    ],
)
def test_what_is_no_source_is_left_out(folder: Any, bundles: Any, name: Any) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "idds.db").write_text("", encoding="utf-8")
    (folder / "hepdata").mkdir()
    (folder / "hepdata" / "submission.yaml").write_text("", encoding="utf-8")
    digest, _ = make_bundle(folder, bundles, folder / "work")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("something", encoding="utf-8")
    assert make_bundle(folder, bundles, folder / "work")[0] == digest


def test_a_folder_that_is_too_large_is_refused(folder: Any, bundles: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bundle_module, "MAX_BUNDLE_FILES", 3)
    make_bundle(folder, bundles)
    (folder / "more.py").write_text("", encoding="utf-8")
    with pytest.raises(DefinitionError) as caught:
        make_bundle(folder, bundles)
    assert caught.value.code == "E-FILE-011"
    assert "folder of its own" in str(caught.value)


def test_a_large_file_is_refused_before_it_is_read(folder: Any, bundles: Any) -> None:
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(DefinitionError, match="E-FILE-011"):
        make_bundle(folder, bundles)
    assert list(bundles.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: (b / "scan.py").unlink(),
        lambda b: (b / "scan.py").write_text("", encoding="utf-8"),
        lambda b: (b / "mc.sh").chmod(0o644),
        lambda b: (b / "stray.py").write_text("x", encoding="utf-8"),
    ],
)
def test_a_damaged_copy_is_never_used(folder: Any, bundles: Any, damage: Any) -> None:
    digest, path = make_bundle(folder, bundles)
    damage(path)
    assert make_bundle(folder, bundles) == (digest, path)
    assert files(path) == ["mc.sh", "scan.py", "sub/helper.py"]
    assert (path / "scan.py").read_text(encoding="utf-8") == "import sub\n"
    assert os.access(path / "mc.sh", os.X_OK)
    assert [p.name for p in bundles.iterdir()] == [digest]


def test_what_python_caches_beside_the_copy_is_no_damage(folder: Any, bundles: Any) -> None:
    _, path = make_bundle(folder, bundles)
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "scan.pyc").write_bytes(b"x")
    make_bundle(folder, bundles)
    assert (path / "__pycache__" / "scan.pyc").exists()


def test_a_copy_that_died_half_way_is_cleared_away(folder: Any, bundles: Any) -> None:
    digest, path = make_bundle(folder, bundles)
    path.rename(bundles / f".{digest}.99999")
    make_bundle(folder, bundles)
    assert [p.name for p in bundles.iterdir()] == [digest]


def test_a_crash_while_copying_leaves_no_bundle(folder: Any, bundles: Any, monkeypatch: Any) -> None:
    def crash(self: Any, target: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", crash)
        with pytest.raises(KeyboardInterrupt):
            make_bundle(folder, bundles)
    assert not [p for p in bundles.iterdir() if not p.name.startswith(".")]
    digest, path = make_bundle(folder, bundles)
    assert [p.name for p in bundles.iterdir()] == [digest]
    assert files(path) == ["mc.sh", "scan.py", "sub/helper.py"]


def test_a_file_that_cannot_be_read_is_named(folder: Any, bundles: Any, monkeypatch: Any) -> None:
    def refuse(self: Any) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(DefinitionError, match=r"E-FILE-013 mc.sh cannot be bundled: Permission denied"):
        make_bundle(folder, bundles)


def test_a_file_that_vanishes_meanwhile_is_left_out(folder: Any, bundles: Any, monkeypatch: Any) -> None:
    def vanish(self: Any) -> bytes:
        raise FileNotFoundError(2, "No such file", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", vanish)
    _, path = make_bundle(folder, bundles)
    assert files(path) == []


def test_an_empty_folder_is_an_empty_bundle(tmp_path: Any, bundles: Any) -> None:
    (tmp_path / "empty").mkdir()
    _, path = make_bundle(tmp_path / "empty", bundles)
    assert path.is_dir()


def test_links_are_followed_to_files_and_dead_ones_left_out(folder: Any, bundles: Any, tmp_path: Any) -> None:
    (tmp_path / "outside.txt").write_text("data", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "dead.txt").symlink_to(tmp_path / "nothing")
    _, path = make_bundle(folder, bundles)
    assert (path / "link.txt").read_text(encoding="utf-8") == "data"
    assert not (path / "link.txt").is_symlink()
    assert not (path / "dead.txt").exists()


def test_a_name_that_is_no_text_is_bundled(folder: Any, bundles: Any) -> None:
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x", encoding="utf-8")
    _, path = make_bundle(folder, bundles)
    assert len(files(path)) == 4


@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(content=st.binary(max_size=200))
def test_any_content_is_copied_as_it_is(tmp_path_factory: Any, content: Any) -> None:
    place = tmp_path_factory.mktemp("any")
    (place / "source").mkdir()
    (place / "bundles").mkdir()
    (place / "source" / "data.bin").write_bytes(content)
    _, path = make_bundle(place / "source", place / "bundles")
    assert (path / "data.bin").read_bytes() == content
