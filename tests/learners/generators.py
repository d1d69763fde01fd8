"""A generator of the gest-api for tests: what others bring."""

from __future__ import annotations

from typing import Any

from gest_api.generator import Generator


class Halton(Generator):  # type: ignore[misc]
    """The sequence of Halton, with identifiers; it counts what it is told."""

    returns_id = True

    def __init__(self, vocs: Any, skip: int = 0) -> None:
        super().__init__(vocs)
        self._vocs, self._at, self.told = vocs, skip, 0

    def _validate_vocs(self, vocs: Any) -> None:
        if not vocs.variables:
            raise ValueError("no variables")

    def suggest(self, num_points: int | None) -> list[dict[str, Any]]:
        found = []
        for _ in range(num_points or 1):
            self._at += 1
            point: dict[str, Any] = {"_id": self._at}
            for base, (name, variable) in zip((2, 3, 5), self._vocs.variables.items(), strict=False):
                low, high = variable.domain
                point[name] = low + (high - low) * _radical(self._at, base)
            found.append(point)
        return found

    def ingest(self, results: list[dict[str, Any]]) -> None:
        assert all("_id" in r for r in results)
        self.told += len(results)


def _radical(n: int, base: int) -> float:
    found, share = 0.0, 1.0 / base
    while n:
        n, digit = divmod(n, base)
        found += digit * share
        share /= base
    return found
