"""The published likelihood of the 1Lbb example: got, checked and made into the two tables that the scan reads."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fetch_data
import pytest

from tests.examples import onelbb_kit as kit

ROOT = Path(__file__).parents[2]
TABLES = ["background.csv", "signal_and_cls.csv"]

Fetch = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fetch:
    """Convert an archive into tmp_path/data; the exit code, and the lines that were told about mistakes."""

    def call(archive: bytes | None, *more: object) -> tuple[int, list[str]]:
        words = [*map(str, more), "--out", str(tmp_path / "data")]
        if archive is not None:
            (tmp_path / "archive").write_bytes(archive)
            words += ["--archive", str(tmp_path / "archive")]
        code = fetch_data.main(words)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.err.splitlines() if code else told.out.splitlines()

    return call


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------- what is written
def test_the_archive_becomes_two_tables(fetch: Fetch, tmp_path: Path) -> None:
    archive = kit.archive()
    code, lines = fetch(archive)
    assert code == 0
    assert lines[0] == f"archive: {len(archive)} bytes, sha256 {hashlib.sha256(archive).hexdigest()}"
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == TABLES
    rows = table(tmp_path / "data", "background.csv")
    assert list(rows[0]) == ["sr", "observed", "expected", "uncertainty"]
    names = ["HM_low", "HM_med", "HM_high", "MM_low", "MM_med", "MM_high", "LM_low", "LM_med", "LM_high"]
    assert [row["sr"] for row in rows] == names
    assert (rows[0]["observed"], rows[0]["expected"]) == ("4", "4")
    signal = table(tmp_path / "data", "signal_and_cls.csv")
    assert list(signal[0]) == ["m_c1n2", "m_n1", *(f"sig_{name}" for name in names)]
    assert [(float(r["m_c1n2"]), float(r["m_n1"])) for r in signal] == kit.MASSES
    for row in signal:
        m, n = float(row["m_c1n2"]), float(row["m_n1"])
        found = [float(row[f"sig_HM_{bin_}"]) for bin_ in ("low", "med", "high")]
        assert found == pytest.approx(kit.yields(m, n, "SRHMEM_mct2"), rel=1e-11)
        assert (float(row["sig_LM_low"]) == 0) == (m == 1000)  # no sample there


def test_one_parameter_moves_all_samples_together_and_counts_of_simulation_each_for_itself(
    fetch: Fetch, tmp_path: Path
) -> None:
    assert fetch(kit.archive())[0] == 0
    row = table(tmp_path / "data", "background.csv")[0]
    correlated = math.hypot(0.2, 0.1, 0.017)  # of the sum of both samples
    independent = 0.1 * math.hypot(0.75, 0.25)
    assert float(row["uncertainty"]) == pytest.approx(4 * math.hypot(correlated, independent), rel=1e-9)


def test_a_shift_in_opposite_directions_cancels_within_one_parameter(fetch: Fetch, tmp_path: Path) -> None:
    background = kit.workspace()
    for channel in background["channels"]:
        for sample, sign in zip(channel["samples"], (1, -3), strict=True):  # 0.75 and 0.25 of the counts
            sample["modifiers"] = [
                kit.modifier("normsys", "JER", {"hi": 1 + 0.1 * sign, "lo": 1 - 0.1 * sign}),
                kit.modifier("shapesys", f"mc_{channel['name']}_{sample['name']}", [0.5] * len(sample["data"])),
            ]
    assert fetch(kit.archive(background))[0] == 0
    for row in table(tmp_path / "data", "background.csv"):
        assert float(row["uncertainty"]) == pytest.approx(math.hypot(0.5, 0.5), rel=1e-9)


def test_a_zip_around_the_archive_is_taken_off(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch(kit.archive())[0] == 0
    plain = [(tmp_path / "data" / name).read_bytes() for name in TABLES]
    assert fetch(kit.zipped(kit.archive()))[0] == 0
    assert [(tmp_path / "data" / name).read_bytes() for name in TABLES] == plain


def test_cls_of_the_full_likelihood_are_joined(fetch: Fetch, tmp_path: Path) -> None:
    results = {
        f"C1N2_Wh_hbb_{m}_{n}": {"CLs_obs": m / 2000, "CLs_exp": [0.1, 0.2, 0.3, 0.4, 0.5], "mass_hypotheses": [m, n]}
        for m, n in kit.MASSES
    }
    (tmp_path / "cls.json").write_text(json.dumps(results), encoding="utf-8")
    assert fetch(kit.archive(), "--cls", tmp_path / "cls.json")[0] == 0
    row = table(tmp_path / "data", "signal_and_cls.csv")[0]
    assert [*row][-6:] == ["CLs_obs_full", "CLs_exp_m2s", "CLs_exp_m1s", "CLs_exp_med", "CLs_exp_p1s", "CLs_exp_p2s"]
    assert (row["CLs_obs_full"], row["CLs_exp_med"]) == ("0.075", "0.3")
    del results["C1N2_Wh_hbb_150_0"]
    results["C1N2_Wh_hbb_300_0"]["CLs_exp"] = [0.1]
    (tmp_path / "cls.json").write_text(json.dumps(results), encoding="utf-8")
    code, lines = fetch(kit.archive(), "--cls", tmp_path / "cls.json")
    assert (code, len(lines)) == (4, 2)
    assert lines[0] == "results: there is nothing about C1N2_Wh_hbb_150_0"
    assert lines[1].startswith("results, CLs of C1N2_Wh_hbb_300_0: 6 finite numbers are expected")


def test_the_scan_runs_on_the_tables(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch(kit.archive())[0] == 0

    def idds(*words: object) -> str:
        command = [sys.executable, "-m", "idds_agents", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode in (0, 2), done.stderr
        return done.stdout

    scan = ROOT / "examples" / "onelbb" / "scan.py"
    settings = ["--set", f"data={tmp_path / 'data'}", "--set", "max_points=12"]
    result = json.loads(idds("run", scan, "--workdir", tmp_path / "run", "--json", "--quiet", *settings))
    assert result["evaluations"] == 12
    (tmp_path / "points.csv").write_text("m_c1n2,m_n1\n200,0\n950,0\n", encoding="utf-8")
    predicted = idds("predict", "--workdir", tmp_path / "run", "--points", tmp_path / "points.csv")
    light, heavy = csv.DictReader(predicted.splitlines())
    assert float(light["obs_p_excluded"]) > 0.5 > float(heavy["obs_p_excluded"])


def test_the_benchmark_runs_on_the_tables_without_cls(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch(kit.archive())[0] == 0
    (tmp_path / "truth.csv").write_text("m_c1n2,m_n1,obs,exp\n200,0,0.01,0.01\n950,0,0.5,0.5\n", encoding="utf-8")
    words = ["--data", tmp_path / "data", "--truth", tmp_path / "truth.csv", "--seeds", 1, "--quick", "--json"]
    command = [sys.executable, "-m", "benchmarks.onelbb", *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=200, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["methods"]) == {"level_set", "level_set_proxy", "sobol"}


# ---------------------------------------------------------------------- what is refused
def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "BkgOnly.json"
    return member


BOTH = {"BkgOnly.json": b"{}", "patchset.json": b"{}"}


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (b"<html>a page about the file</html>", "the archive cannot be read, it is broken or no .tar.gz"),
        (b"", "the archive cannot be read"),
        (kit.archive()[:-200], "the archive cannot be read"),
        (kit.archive()[:30] + b"\0" * 40 + kit.archive()[70:], "the archive cannot be read"),
        (kit.zipped(kit.archive())[:-30], "the archive cannot be read"),
        (kit.zipped(kit.archive(), "tables.csv"), "the zip holds 0 .tar.gz files; one is expected"),
        (kit.zipped(kit.archive(), "../evil.tar.gz"), "the zip holds 0 .tar.gz files"),
        (kit.packed({"BkgOnly.json": b"{}"}), "the archive does not hold patchset.json"),
        (kit.packed({"README.md": b""}), "the archive does not hold BkgOnly.json and patchset.json"),
        (kit.packed({**BOTH, "../BkgOnly.json": b"{}"}), "'../BkgOnly.json', which leads out of it"),
        (kit.packed({**BOTH, "/etc/passwd": b"x"}), "'/etc/passwd', which leads out of it"),
        (kit.packed({**BOTH, "old/BkgOnly.json": b"{}"}), "the archive holds BkgOnly.json twice"),
        (kit.packed(BOTH, link("link", tarfile.SYMTYPE)), "'link', which is no plain file"),
        (kit.packed(BOTH, link("link", tarfile.LNKTYPE)), "'link', which is no plain file"),
        (kit.packed(BOTH, link("pipe", tarfile.FIFOTYPE)), "'pipe', which is no plain file"),
        (kit.packed({**BOTH, "BkgOnly.json": b"{'channels'"}), "BkgOnly.json is not JSON"),
        (kit.packed({**BOTH, "patchset.json": b"\xff\xfe\x00"}), "patchset.json is not JSON"),
        (kit.packed({**BOTH, "BkgOnly.json": b"[" * 100_000}), "BkgOnly.json is not JSON"),
        (kit.packed({**BOTH, "BkgOnly.json": b'{"channels": [NaN]}'}), "NaN is no number of JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # archives hold the time at which they were made
)  # fmt: skip
def test_a_bad_archive_is_refused_in_one_line_and_nothing_is_written(
    fetch: Fetch, tmp_path: Path, archive: bytes, says: str
) -> None:
    code, lines = fetch(archive)
    assert (code, len(lines)) == (4, 1)
    assert says in lines[0]
    assert not (tmp_path / "data").exists()
    assert not (tmp_path.parent / "BkgOnly.json").exists()


def test_what_unpacks_to_more_than_is_allowed_is_refused(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_data, "MAX_UNPACKED", 100_000)
    code, lines = fetch(kit.packed({**BOTH, "zeros": bytes(1_000_000)}))
    assert (code, lines) == (4, ["the archive unpacks to more than 100000 bytes"])
    monkeypatch.setattr(fetch_data, "MAX_DOWNLOAD", 100)
    code, lines = fetch(kit.zipped(kit.archive()))
    assert (code, lines) == (4, ["1Lbb-likelihoods-hepdata.tar.gz in the zip is larger than 100 bytes"])


def test_a_checksum_that_differs_is_refused(fetch: Fetch, tmp_path: Path) -> None:
    right = hashlib.sha256(kit.archive()).hexdigest()
    assert fetch(kit.archive(), "--sha256", right.upper())[0] == 0
    code, lines = fetch(kit.archive(), "--sha256", "0" * 64)
    assert (code, len(lines)) == (4, 1)
    assert f"sha256 is {right}, not 000" in lines[0]


def test_a_file_that_is_not_there_is_told(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch(None, "--archive", tmp_path / "no.tar.gz") == (
        4, [f"{tmp_path / 'no.tar.gz'}: No such file or directory"]
    )  # fmt: skip


Change = Callable[[Any, Any], None]


def _set(path: str, value: Any, *, of: int = 0) -> Change:
    """Put a value at a path of the workspace (0) or the patch set (1); the digest is made to fit afterwards."""

    def change(*documents: Any) -> None:
        *way, last = [int(p) if p.isdigit() else p for p in path.split("/")]
        found = documents[of]
        for step in way:
            found = found[step]
        found[last] = value

    return change


SR = "channels/5/samples/0"
ADD = "patches/0/patch/0"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("channels/5/name", "SRXMEM"), ["workspace: there is no channel SRHMEM_mct2"]),
        (_set("channels/7/samples", {}), ["SRLMEM_mct2: 'samples' is missing, or no list"]),
        (_set("observations", [3]), ["observation 0: 'name' is missing, or no str"]),
        (_set("observations/5/data", [1, 2]), ["observation of SRHMEM_mct2: 3 finite numbers are expected"]),
        (_set("observations/5/data/1", -1), ["observation of SRHMEM_mct2: 3 finite numbers are expected, at least 0"]),
        (_set("observations/5/data/1", 10**400), ["observation of SRHMEM_mct2: 3 finite numbers are expected"]),
        (_set(f"{SR}/data/0", "many"), ["SRHMEM_mct2, sample ttbar: 3 finite numbers are expected; found ['many'"]),
        (_set(f"{SR}/data/0", True), ["SRHMEM_mct2, sample ttbar: 3 finite numbers are expected"]),
        (_set(SR, 7), ["SRHMEM_mct2, sample 0: 3 finite numbers", "SRHMEM_mct2, sample 0: 'modifiers' is missing"]),
        (_set(f"{SR}/modifiers/2/data", 1), ["normsys JER, hi and lo: 2 finite numbers are expected; found 1"]),
        (_set(f"{SR}/modifiers/3/data/hi_data", []), ["histosys JES, hi_data: 3 finite numbers are expected"]),
        (_set(f"{SR}/modifiers/4/data/0", None), ["staterror staterror_SRHMEM_mct2: 3 finite numbers are expected"]),
        (_set(f"{SR}/modifiers/0/type", "lumen"), ["lumen lumi: this type of modifier is not known"]),
        (_set("measurements", []), ["lumi lumi, sigma of lumi in the measurement: 1 finite numbers are expected"]),
        (_set(f"{ADD}/path", "/channels/8/samples/2", of=1), ["there is no channel 8; the workspace has 8"]),
        (_set(f"{ADD}/path", "/channels/2", of=1), ["add /channels/2 does not add a sample to a channel"]),
        (_set(f"{ADD}/op", "remove", of=1), ["remove /channels/5/samples/2 does not add a sample"]),
        (_set(f"{ADD}", [], of=1), ["patch C1N2_Wh_hbb_150_0: 'path' is missing, or no str"]),
        (_set(f"{ADD}/value/data/2", -0.1, of=1), ["samples/2: 3 finite numbers are expected, at least 0; found"]),
        (_set(f"{ADD}/value/data", [1.0], of=1), ["patch C1N2_Wh_hbb_150_0, /channels/5/samples/2: 3 finite numbers"]),
        (_set(f"{ADD}/value", None, of=1), ["'value' is missing, or no dict"]),
        (_set("patches/0/metadata/name", "ERJR_100_20", of=1), ["patch 'ERJR_100_20': its name is not C1N2_Wh_hbb_"]),
        (_set("patches/0/metadata/values", [150, 1], of=1), ["patch C1N2_Wh_hbb_150_0: its values are [150, 1]"]),
        (_set("patches/1/metadata", {"name": "C1N2_Wh_hbb_150_0", "values": [150, 0]}, of=1), ["have a patch already"]),
        (_set("patches", [], of=1), ["patchset: 0 mass points; at least 3 are needed"]),
        (_set("metadata/digests", {"sha256": "0" * 64}, of=1), ["made for another workspace (its sha256 differs)"]),
        (_set("metadata/digests", {"crc": "0"}, of=1), ["digest crc is not known"]),
        (_set("metadata", None, of=1), ["patchset: 'metadata' is missing, or no dict"]),
    ],
)  # fmt: skip
def test_each_mistake_of_the_layout_is_told(fetch: Fetch, tmp_path: Path, change: Change, says: list[str]) -> None:
    background, signal = kit.workspace(), kit.patchset(kit.workspace())
    change(background, signal)
    if background != kit.workspace():  # else the digest would be wrong as well
        signal["metadata"] = kit.patchset(background)["metadata"]
    code, lines = fetch(kit.archive(background, signal))
    assert code == 4
    for text in says:
        assert any(text in line for line in lines), lines
    assert len(lines) <= 6
    assert not (tmp_path / "data").exists()


def test_an_infinity_that_JSON_lets_in_is_no_number(fetch: Fetch) -> None:
    text = json.dumps(kit.workspace()).replace("3.0", "1e999", 1).encode()
    files = {"BkgOnly.json": text, "patchset.json": json.dumps(kit.patchset(kit.workspace())).encode()}
    code, lines = fetch(kit.packed(files))
    assert code == 4
    assert any("found [" in line and "inf" in line for line in lines)


def test_a_background_of_nothing_is_refused(fetch: Fetch) -> None:
    background = kit.workspace()
    for sample in background["channels"][5]["samples"]:
        sample["data"][1], sample["modifiers"] = 0.0, []
    code, lines = fetch(kit.archive(background))
    assert (code, len(lines)) == (4, 3)
    assert lines[1] == "HM_med: background 0 +- 0; both must be above zero"


def test_many_mistakes_are_cut_short(fetch: Fetch) -> None:
    background = kit.workspace()
    signal = kit.patchset(background)
    for patch in signal["patches"]:
        for operation in patch["patch"]:
            operation["op"], operation["path"] = "move", "/channels"
    code, lines = fetch(kit.archive(background, signal))
    assert (code, len(lines)) == (4, 21)
    assert lines[-1].startswith("and ")


# ---------------------------------------------------------------------- writing
def test_a_death_between_the_two_tables_leaves_no_mixture(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(kit.archive())[0] == 0
    tables = fetch_data.convert(kit.archive())
    real = Path.replace

    def dies(self: Path, target: Path) -> Path:
        if self.name == ".signal_and_cls.csv.part":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            fetch_data.write(tmp_path / "data", tables)
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["background.csv"]
    assert fetch(kit.archive())[0] == 0
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == TABLES


def test_a_refused_archive_leaves_the_tables_of_before(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch(kit.archive())[0] == 0
    before = [(tmp_path / "data" / name).read_bytes() for name in TABLES]
    assert fetch(kit.archive()[:500])[0] == 4
    assert [(tmp_path / "data" / name).read_bytes() for name in TABLES] == before


# ---------------------------------------------------------------------- download
class _Handler(BaseHTTPRequestHandler):
    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Accept"]))
        if self.path == "/r3":
            self._answer(302, b"", Location="/record/resource/1?landing_page=true")
        elif self.path.startswith("/record"):
            self._answer(200, kit.archive())
        elif self.path == "/circle":
            self._answer(302, b"", Location="/circle")
        elif self.path == "/elsewhere":
            self._answer(302, b"", Location="file:///etc/passwd")
        elif self.path == "/short":
            self._answer(200, kit.archive()[:500], length=len(kit.archive()))
        else:
            self._answer(404, b"not here")

    def _answer(self, code: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(length or len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """A server on this machine that answers as HEPData does."""
    _Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_a_download_follows_the_way_from_the_doi_to_the_file(fetch: Fetch, server: str, tmp_path: Path) -> None:
    code, lines = fetch(None, "--url", f"{server}/r3")
    assert code == 0
    assert lines[0].startswith(f"archive: {len(kit.archive())} bytes, sha256 ")
    assert [path for path, _ in _Handler.asked] == ["/r3", "/record/resource/1?landing_page=true"]
    assert all("application/x-tar" in accept for _, accept in _Handler.asked)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == TABLES


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nothing", "/nothing answers 404. Download it by hand: --archive FILE"),
        ("/circle", "/circle cannot be downloaded: Exceeded maximum allowed redirects"),
        ("/elsewhere", "/elsewhere cannot be downloaded"),
        ("/short", "/short cannot be downloaded: peer closed connection"),
    ],
)
def test_a_download_that_fails_is_told_in_one_line(fetch: Fetch, server: str, path: str, says: str) -> None:
    code, lines = fetch(None, "--url", f"{server}{path}")
    assert (code, len(lines)) == (3, 1)
    assert says in lines[0]


def test_a_server_that_is_not_there_or_no_address_is_told(fetch: Fetch) -> None:
    for url in ("http://127.0.0.1:1/r3", "ftp://127.0.0.1/r3", "nonsense"):
        code, lines = fetch(None, "--url", url)
        assert (code, len(lines)) == (3, 1)
        assert lines[0].startswith(f"{url} cannot be downloaded")


def test_a_download_is_bounded_in_size_and_time(fetch: Fetch, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_data, "MAX_TIME_S", -1.0)
    code, lines = fetch(None, "--url", f"{server}/r3")
    assert (code, len(lines)) == (3, 1)
    assert "has not sent everything" in lines[0]
    monkeypatch.setattr(fetch_data, "MAX_DOWNLOAD", 100)
    code, lines = fetch(None, "--url", f"{server}/r3")
    assert (code, len(lines)) == (3, 1)
    assert lines[0].endswith("sends more than 100 bytes: this is not the archive")
