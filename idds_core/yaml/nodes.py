"""YAML 1.2 text as values that know their line. Nothing of it is ever executed, and its size is bounded.

Plain words mean what the core schema of YAML 1.2.2 says: ``1e-3`` is a number, ``012`` is twelve, ``on`` and
``2024-01-01`` are text. Keys are always text. A key that is there twice, what contains itself and what grows beyond
all bounds is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from idds_core.errors import DefinitionError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Node", "parse", "scalar"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 200_000
"""Values in a document, each alias counted as what it stands for."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,4000}")
_BASED = re.compile(r"0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,4000}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def scalar(text: str) -> Any:
    """What a plain word stands for.

    >>> [scalar(word) for word in ("1e-3", "012", "0x10", "on", "null", "true", "1_000", "-.5")]
    [0.001, 12, 16, 'on', None, True, '1_000', -0.5]
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NO_NUMBER.fullmatch(text) else text


@dataclass(eq=False)
class Node:
    """A value of the file and the line (from 1) where it, or its key, stands.

    value : a scalar, a list of nodes, or a dictionary of them.
    """

    value: Any
    line: int
    size: int = field(default=1, repr=False)

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def places(self, where: str) -> Iterator[tuple[str, int]]:
        """``(place, line)`` of it and of all below it, in the words of a problem's `where`."""
        yield where, self.line
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield from node.places(f"{where}.{key}")
        elif isinstance(self.value, list):
            for i, node in enumerate(self.value):
                yield from node.places(f"{where}[{i}]")


def parse(text: str, name: str) -> Node:
    """The one document of a YAML text.

    Parameters
    ----------
    text, name : what to read, and how its file is called in messages.

    Raises
    ------
    DefinitionError
        With the line of what cannot be read.

    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _refused(name, "is too large", f"more than {MAX_BYTES // 10**6} MB", 0, "Keep large data in a file.")
    builder = _Builder(name)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = "; ".join(" ".join(str(t).split()) for t in (error.context, error.problem) if t)
        raise _syntax(name, why, mark.line + 1 if mark else 0) from error
    except YAMLError as error:  # a character that no text has
        raise _syntax(name, str(error).splitlines()[0] if str(error) else type(error).__name__, 0) from error
    if builder.root is None:
        raise _refused(name, "is empty", "", 0, "Begin with 'name:'; 'idds-core init' writes a whole one.")
    return builder.root


def _syntax(name: str, why: str, line: int) -> DefinitionError:
    fix = "Check colons and indentation here and above; text that begins with a brace or holds ': ' needs quotes."
    return _refused(name, "is no YAML", why, line, fix, "E-YAML-001")


def _refused(name: str, what: str, why: str, line: int, fix: str, code: str = "E-YAML-002") -> DefinitionError:
    return DefinitionError.of(code, f"{name} {what}", why, f"{name}:{line}" if line else name, fix)


class _Builder:
    """Events of the parser -> nodes, without recursion."""

    def __init__(self, name: str) -> None:
        self.root: Node | None = None
        self._name = name
        self._open: list[tuple[Node, str | None]] = []  # what is being filled, and its own anchor
        self._keys: list[str | None] = []  # the key that waits for its value
        self._anchors: dict[str, Node | None] = {}
        self._lines: list[int] = []

    def take(self, event: Any) -> None:
        """The next event."""
        kind = type(event).__name__
        line = event.start_mark.line + 1
        if kind == "DocumentStartEvent":
            self._begin(event, line)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._check(event, line)
            node = Node({} if kind == "MappingStartEvent" else [], line)
            if self._open and self._waits_for_key():
                raise self._no("has a key that is no text", "it is a list or a mapping", line, "Use a word as the key.")
            if len(self._open) >= MAX_DEPTH:
                raise self._no("is nested too deeply", f"more than {MAX_DEPTH} levels", line, "Make it flatter.")
            if event.anchor:
                self._anchors[event.anchor] = None
            self._open.append((node, event.anchor))
            self._keys.append(None)
            self._lines.append(line)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            node, anchor = self._open.pop()
            self._keys.pop()
            self._lines.pop()
            self._add(node, anchor)
        elif kind == "ScalarEvent":
            self._scalar(event, line)
        elif kind == "AliasEvent":
            self._alias(event, line)

    def _begin(self, event: Any, line: int) -> None:
        if self.root is not None:
            raise self._no("has two documents", "one begins here", line, "Keep one; remove the '---'.")
        if getattr(event, "version", None) not in (None, (1, 2)):
            raise self._no("asks for another YAML", "this is YAML 1.2", line, "Remove the %YAML line.")

    def _scalar(self, event: Any, line: int) -> None:
        self._check(event, line)
        if self._open and self._waits_for_key():
            if event.anchor:
                raise self._no("has an anchor on a key", "", line, "Put it on the value.")
            self._key(event.value, line)
            return
        value = scalar(event.value) if event.style is None and event.implicit[0] else event.value
        self._add(Node(value, line), event.anchor)

    def _alias(self, event: Any, line: int) -> None:
        if event.anchor not in self._anchors:
            raise self._no("has an alias that stands for nothing", f"*{event.anchor}", line, "Define its & first.")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._no("has a value that contains itself", f"*{event.anchor}", line, "Write it out.")
        if self._waits_for_key():
            raise self._no("has an alias for a key", f"*{event.anchor}", line, "Write the key.")
        self._add(node, None)

    def _check(self, event: Any, line: int) -> None:
        if event.tag is not None:
            why = f"the tag {event.tag}"
            raise self._no("has a value of a kind of its own", why, line, "Remove what begins with '!'; quote text.")

    def _waits_for_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1][0].value, dict) and self._keys[-1] is None

    def _key(self, key: str, line: int) -> None:
        known = self._open[-1][0].value
        if key in known:
            why = f"the first is in line {known[key].line}"
            raise self._no(f"says {key!r} twice", why, line, "Remove one of them.")
        if key == "<<":
            raise self._no("has a merge key", "there are none in YAML 1.2", line, "Write the values out.")
        self._keys[-1] = key
        self._lines[-1] = line

    def _add(self, node: Node, anchor: str | None) -> None:
        """Put a finished value where it belongs; the place of a mapping's value is the line of its key."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        parent, _ = self._open[-1]
        parent.size += node.size
        if parent.size > MAX_NODES:
            raise self._no("is too large", f"more than {MAX_NODES} values", node.line, "Keep large data in a file.")
        if isinstance(parent.value, list):
            parent.value.append(node)
            return
        key = self._keys[-1]
        self._keys[-1] = None
        parent.value[key] = Node(node.value, self._lines[-1], node.size)

    def _no(self, what: str, why: str, line: int, fix: str) -> DefinitionError:
        return _refused(self._name, what, why, line, fix)
