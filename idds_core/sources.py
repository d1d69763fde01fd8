"""What of a source bundle a step depends on: a digest that stays the same while that stays the same.

Found by reading, never by running. For a function: its own definition, the module-level names of its file that it uses
(and what these use), every statement of that file that is no mere definition, and the whole files of the bundle that
are imported by any of these. So a scan file may define a loop beside its steps: a changed budget changes no step.
For a command, and wherever text names a file of the bundle: that file, and what it names or imports in turn.

What cannot be seen by reading makes the step depend on more, never on less: code that imports or evaluates by text
(`eval`, `importlib`, `globals`) depends on the whole bundle, code that asks where it is (``__file__``) on every file
that is no Python. Not seen at all: installed packages and programs, files outside the bundle, the environment.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from idds_core.document import plain
from idds_core.history import canonical_json
from idds_core.model import Step

__all__ = ["NOT_RESULT", "Bundle", "Source", "step_digest"]

#: fields of a step that say where, how often and how long, not what comes out
NOT_RESULT = frozenset({"name", "provider", "requires", "retry", "keep"})
_BY_TEXT = frozenset({"eval", "exec", "globals", "__import__", "importlib", "runpy", ".import_module", ".modules"})
_WHERE_IT_IS = frozenset({"__file__", "__path__", "__spec__", ".__file__", ".__path__", "inspect", "pkgutil"})
_TEXT_LIMIT = 1_000_000


@dataclass(frozen=True)
class Source:
    """What a step depends on.

    digest : of all of it. files : names of the files that it is in.
    seed, parameters : whether it may look at the job's seed, and at parameters it has not asked for by name.
    """

    digest: str
    files: tuple[str, ...]
    seed: bool
    parameters: bool


class Bundle:
    """The files of a bundle, read once.

    Parameters
    ----------
    folder : of the bundle; one that is not there has no files.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[str, ...], Source] = {}

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Name -> content."""
        paths = sorted(p for p in self._folder.rglob("*") if p.is_file())
        return {p.relative_to(self._folder).as_posix(): p.read_bytes() for p in paths if "__pycache__" not in p.parts}

    @cached_property
    def modules(self) -> dict[str, str]:
        """Module -> name of its file."""
        found = {}
        for name in self.files:
            if name.endswith(".py"):
                parts = name[:-3].split("/")
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = name
        return found

    def source(self, step: Step) -> Source:
        """What the step depends on."""
        key = (step.function or "", *(step.run or ()))
        if key not in self._found:
            reader = _Reader(self)
            reader.step(step)
            self._found[key] = reader.source(step)
        return self._found[key]


class _Reader:
    """Goes from a step to all that it depends on."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._pieces: dict[str, str] = {}
        self._seen: set[str] = set()
        self._words: set[str] = set()

    def source(self, step: Step) -> Source:
        """All that was found."""
        digest = hashlib.sha256(canonical_json(sorted(self._pieces.items())).encode()).hexdigest()[:16]
        files = sorted({label.partition("#")[0] for label in self._pieces} & set(self._bundle.files))
        seed = step.context if step.run is None else "{seed}" in "".join(step.run) or "IDDS_SEED" in self._words
        every = "params.json" in self._words or (step.context and ".parameters" in self._words)
        return Source(digest, tuple(files), bool(seed), bool(every))

    def step(self, step: Step) -> None:
        """Begin with what the step names."""
        if step.run is not None:
            for token in step.run:
                self._text(token)
                if token.rstrip("/") == "{bundle}":
                    self._files(self._bundle.files)
        module, _, name = (step.function or "").partition(":")
        file = self._bundle.modules.get(module)
        if file is not None:
            self._parents(module)
            self._slice(file, module, name.partition(".")[0])

    # ------------------------------------------------------------------ a function in its file
    def _slice(self, file: str, module: str, root: str) -> None:
        statements = [_bare(s) for s in ast.parse(self._bundle.files[file]).body]
        wanted, done = {root}, set[int]()
        while new := [i for i, s in enumerate(statements) if i not in done and (_acts(s) or _binds(s) & wanted)]:
            for i in new:
                names = (n.id for n in ast.walk(statements[i]) if isinstance(n, ast.Name))
                wanted.update(names)
            done.update(new)
        kept = [_only(statements[i], wanted) for i in sorted(done)]
        for statement in kept:
            self._tree(statement, file, module)
        self._pieces[f"{file}#{root}"] = _hash("\n".join(map(ast.dump, kept)).encode())

    # ------------------------------------------------------------------ whole files
    def _files(self, names: Iterable[str]) -> None:
        for name in sorted(set(names) - self._seen):
            self._seen.add(name)
            content = self._bundle.files[name]
            if not name.endswith(".py"):
                self._pieces[name] = _hash(content)
                if len(content) <= _TEXT_LIMIT:
                    self._text(content.decode("utf-8", "replace"))
                continue
            module = next(m for m, file in self._bundle.modules.items() if file == name)
            try:
                tree = ast.parse(content)
            except (SyntaxError, ValueError):
                self._pieces[name] = _hash(content)
                continue
            self._pieces[name] = _hash(ast.dump(tree).encode())
            self._parents(module)
            self._tree(tree, name, module)

    def _parents(self, module: str) -> None:
        """Importing a module runs the packages it is in."""
        parts = module.split(".")
        above = [".".join(parts[:i]) for i in range(1, len(parts))]
        self._files(self._bundle.modules[m] for m in above if m in self._bundle.modules)

    def _tree(self, tree: ast.AST, file: str, module: str) -> None:
        """Imports, texts and telling words of a piece of code."""
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self._files(self._imported(node, file, module))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._text(node.value)
            for word in _words(node):
                self._words.add(word)
                if word in _BY_TEXT:
                    self._files(self._bundle.files)
                elif word in _WHERE_IT_IS:
                    self._files(n for n in self._bundle.files if not n.endswith(".py"))

    def _imported(self, node: ast.Import | ast.ImportFrom, file: str, module: str) -> list[str]:
        """Files of the bundle that an import statement runs."""
        names = []
        for alias in node.names:
            if isinstance(node, ast.Import):
                names.append(alias.name)
                continue
            base = node.module or ""
            if node.level:
                parts = module.split(".") if file.endswith("__init__.py") else module.split(".")[:-1]
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            names += [base, f"{base}.{alias.name}"]
        return [self._bundle.modules[p] for n in names for p in _prefixes(n) if p in self._bundle.modules]

    def _text(self, text: str) -> None:
        """Files that a text names."""
        for word in ("params.json", "IDDS_SEED"):
            if word in text:
                self._words.add(word)
        for name in self._bundle.files:
            if name in self._seen or name.endswith("__init__.py"):
                continue
            base = name.rpartition("/")[2]
            if base in text and re.search(rf"(?<![\w-]){re.escape(base)}(?![\w-])", text):
                self._files([name])


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]


def _words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield f".{node.attr}"
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (a.name.partition(".")[0] for a in node.names)
        yield getattr(node, "module", None) or ""


def _binds(statement: ast.stmt) -> set[str]:
    """Names that a statement of a module defines."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {a.asname or a.name.partition(".")[0] for a in statement.names}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)}


def _acts(statement: ast.stmt) -> bool:
    """Whether a statement of a module may do something besides defining a name."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return any(a.name == "*" for a in statement.names)
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)):
        return False
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False  # a docstring
    return not (isinstance(statement, ast.If) and "__main__" in ast.dump(statement.test))


def _only(statement: ast.stmt, wanted: set[str]) -> ast.stmt:
    """An import without the names that nobody wants."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        names = [a for a in statement.names if a.name == "*" or (a.asname or a.name.partition(".")[0]) in wanted]
        statement.names = names
    return statement


def _bare(statement: ast.stmt) -> ast.stmt:
    """Without ``@step(...)``: what it says is in the definition, field by field."""
    if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return statement
    for decorator in statement.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if getattr(called, "id", getattr(called, "attr", "")) == "step":
            statement.decorator_list = [d for d in statement.decorator_list if d is not decorator]
            break
    return statement


def step_digest(step: Step, bundle: Bundle, parameters: Mapping[str, Any]) -> str:
    """Digest of what a step does: its source, its definition, and the definition's parameters that it sees.

    Equal digests: the step gives the same at the same point, from the same inputs, with the same seed.
    """
    source = bundle.source(step)
    fields = {name: value for name, value in plain(step).items() if name not in NOT_RESULT}
    text = "".join(step.run or ())
    asked = {*step.arguments, *step.optional}
    seen = {n: v for n, v in parameters.items() if source.parameters or n in asked or f"{{{n}}}" in text}
    return _hash(canonical_json([1, source.digest, fields, seen]).encode())
