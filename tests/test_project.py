"""The project itself: layers, lint, types, documentation that is true, settings, version, and what help costs."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import idds_core
from idds_core.settings import Settings, example, read_settings

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SOURCES = ("idds_core", "learners", "agents")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def ran(*argv: str | Path, cwd: Path = ROOT, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True, timeout=280, **more)


def assert_clean(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        pytest.fail(f"{done.args[0]}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)


def tracked() -> list[Path]:
    """Files that are, or would be, under version control."""
    listed = ran("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    assert_clean(listed)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# ---------------------------------------------------------------------- lint and types
def test_layers_hold() -> None:
    assert_clean(ran(BIN / "lint-imports", "--no-cache"))


def test_ruff_finds_nothing() -> None:
    assert_clean(ran(BIN / "ruff", "check", "--no-cache", "."))


def test_everything_is_formatted() -> None:
    assert_clean(ran(BIN / "ruff", "format", "--check", "--no-cache", "."))


def test_types_are_strict() -> None:
    assert_clean(ran(BIN / "mypy", *SOURCES, "tests", "examples", "benchmarks"))


def test_files_and_functions_stay_small() -> None:
    large = []
    for file in (f for source in SOURCES for f in (ROOT / source).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if text.count("\n") >= 400:
            large.append(f"{file}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and "migrations" not in file.parts:
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 50:
                    large.append(f"{file}:{node.lineno} {node.name}: {lines} lines")
    assert not large


def test_nothing_of_this_machine_is_in_a_tracked_file() -> None:
    words = ["/".join(["", place, ""]) for place in ("work", "root")]
    found = []
    for file in tracked():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{file}: {word}" for word in words if re.search(rf"(?<![\w./*]){word}\w", text)]
    assert not found


# ---------------------------------------------------------------------- one source for each fact
def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    assert importlib.metadata.version("idds-core") == idds_core.__version__
    shown = ran(BIN / "idds-core", "--version")
    assert shown.stdout == f"idds-core {idds_core.__version__}\n"
    assert f"- {idds_core.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_settings_file_holds_every_setting_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("IDDS_")]:
        monkeypatch.delenv(name)
    file = ROOT / "config" / "embedded.toml"
    text = file.read_text(encoding="utf-8")
    written = tomllib.loads(text)["embedded"]
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert written == {name: value for name, value in defaults.items() if value is not None}
    for name in set(defaults) - set(written):
        assert re.search(rf"^# {name} = ", text, re.MULTILINE), f"{name} is not mentioned"
    assert read_settings(file) == Settings()
    assert text == example(), "idds-core config --example > config/embedded.toml"


def test_the_wheel_holds_what_is_needed_at_run_time(tmp_path: Path) -> None:
    built = ran(sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path)
    assert_clean(built)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"idds_core", "idds_agents", "idds_learners"}
    needed = ["idds_core/py.typed", "idds_core/store/migrations/env.py", "idds_core/runner/__main__.py"]
    needed += [f"idds_agents/report/templates/report.{end}" for end in ("html", "css", "js")]
    needed += ["idds_core/catalogue/space.toml"]
    for name in needed:
        assert name in names
    for name in ("custom/scan.py", "hpo/scan.py", "limit/scan.py", "shell/mc.sh", "shell/scan.yaml"):
        assert f"idds_agents/templates/{name}" in names
    assert any(name.startswith("idds_core/store/migrations/versions/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


# ---------------------------------------------------------------------- what help costs
@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    code = (
        "import sys, json\n"
        "from idds_agents.cli import main\n"
        f"sys.argv = ['idds-core', *{argv!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = ran(sys.executable, "-c", code)
    assert_clean(done)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    heavy = {"numpy", "scipy", "sklearn", "matplotlib", "sqlalchemy", "alembic", "rich", "celery", "httpx"}
    if argv[0].startswith("-"):  # typer itself takes pydantic to read a verb's options
        heavy.add("pydantic")
    assert not loaded & heavy


@pytest.mark.parametrize("module", ["idds_core", "idds_learners"])
def test_what_a_scan_file_imports_is_light(module: str) -> None:
    code = f"import sys, {module}\nprint(*{{name.partition('.')[0] for name in sys.modules}})\n"
    done = ran(sys.executable, "-c", code)
    assert_clean(done)
    assert not set(done.stdout.split()) & {"numpy", "scipy", "sklearn", "matplotlib", "pydantic", "sqlalchemy"}


# ---------------------------------------------------------------------- documentation
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = ran(BIN / "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path / "site", env=environment)
    assert_clean(done)
    assert (done.stdout + done.stderr).strip() == ""
    assert (tmp_path / "site" / "reference" / "definition" / "index.html").stat().st_size > 10_000


def test_links_lead_somewhere() -> None:
    links = [
        (document, link)
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    ]
    broken = [(d.name, link) for d, link in links if not link.startswith("https://") and not (d.parent / link).exists()]
    assert not broken


def test_files_that_are_named_exist() -> None:
    pattern = re.compile(r"`((?:idds_core|learners|agents|examples|docs|tests|config|\.ci)/[\w./-]*)`")
    named = {n for d in DOCUMENTS for n in pattern.findall(d.read_text(encoding="utf-8"))}
    assert not [n for n in sorted(named) if not (ROOT / n).exists()]
    assert named


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


#: What is tested elsewhere: by CI, which calls it, or by the test of the wheel.
ELSEWHERE = {
    "make demo": "demo:",
    "make test": "test:",
    "make lint": "lint:",
    "pip install .": "'.[$(EXTRAS)]'",
}


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "console")], ids=lambda d: d.name)
def test_commands_in_the_documentation_work(document: Path, tmp_path: Path) -> None:
    """In the order of the document, in one folder, with the files that its python blocks name in their first line."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for text in blocks(document, "python"):
        name = re.match(r"# (\w+\.py)\n", text)
        (tmp_path / (name[1] if name else "block.py")).write_text(text, encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "100"}
    for line in "".join(blocks(document, "console")).splitlines():
        if not line.startswith("$ "):
            continue
        command = line.removeprefix("$ ")
        if command in ELSEWHERE:
            assert ELSEWHERE[command] in makefile
            continue
        done = ran("bash", "-c", command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL)
        spent = " run " in command and done.returncode == 2
        assert done.returncode == 0 or spent, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        for file in re.findall(r" -o (\S+)", command):
            assert (tmp_path / file).stat().st_size > 0


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "python")], ids=lambda d: d.name)
def test_python_in_the_documentation_runs(document: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(document, "python")):
        file = tmp_path / f"block{number}.py"
        file.write_text(text, encoding="utf-8")
        assert_clean(ran(sys.executable, "-W", "error", file, cwd=tmp_path))


def test_the_changelog_names_every_verb_of_the_command_line() -> None:
    from idds_agents.cli.app import app

    verbs = [c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "run" in verbs
    assert not [verb for verb in verbs if f"`{verb}`" not in text]


def test_the_ci_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert_clean(ran("bash", "-n", script))
