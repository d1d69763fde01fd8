"""What the scripts have in common: three options, the peers that they ran beside, and where the output goes."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["finish", "installed", "parser", "start", "tell"]


def parser(doc: str | None, *, seeds: int, quick: str) -> argparse.ArgumentParser:
    """A parser with `--json`, `--quick` and `--seeds`.

    seeds : how many by default; a quick run takes one unless told otherwise
    quick : what is left out of a quick run
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="one JSON object on standard output, progress on the other")
    made.add_argument(
        "--quick", action="store_true", help=f"for a look, in minutes: {quick}; one seed if not told".replace("%", "%%")
    )
    made.add_argument("--seeds", type=_count, metavar="N", help=f"how many seeds; default: {seeds}")
    made.set_defaults(_seeds=seeds)
    return made


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return int(text)


def installed(peers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the packages that are installed, and name -> package of the peers whose package is not."""
    versions, missing = {}, {}
    for name, package in peers.items():
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            missing[name] = package
    return versions, missing


def start(options: argparse.Namespace, peers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Say which peers there are, on standard error; what every script's figures begin with.

    peers : name -> package that it needs
    """
    if options.seeds is None:
        options.seeds = 1 if options.quick else options._seeds  # noqa: SLF001 - set above, for this alone
    versions, missing = installed(peers or {})
    tell("peers: " + (", ".join(f"{package} {v}" for package, v in versions.items()) or "none"))
    for name, package in missing.items():
        tell(f"{name} is left out: {package} is not installed")
    return {"seeds": options.seeds, "quick": options.quick, "peers": versions, "not_installed": missing}


def tell(line: str) -> None:
    """A line of progress; standard output is for the result."""
    print(line, file=sys.stderr, flush=True)


def finish(options: argparse.Namespace, figures: Mapping[str, Any], show: Callable[[Mapping[str, Any]], None]) -> int:
    """The result on standard output, as JSON or as text; the exit code."""
    if options.json:
        print(json.dumps(_plain(figures), indent=2, allow_nan=False))
    else:
        show(figures)
    return 0


def _plain(value: Any) -> Any:
    """What JSON can hold: null where a number is not finite, as of a run that never got there."""
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
