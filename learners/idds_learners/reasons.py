"""Why each point of a proposal was chosen: what a learner with a map tells people of its answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idds_learners.mapping import Maps

__all__ = ["DESIGN", "EXPLORE", "RANDOM", "REFINE", "SEQUENCE", "reasons_of"]

DESIGN, SEQUENCE, RANDOM, REFINE, EXPLORE = "first design", "sequence", "random", "refine", "explore"
_DIGITS = 6


def reasons_of(
    maps: Maps | None, points: Sequence[Mapping[str, Any]], kinds: Sequence[tuple[str, float | None]]
) -> tuple[dict[str, Any], ...]:
    """For each point why, its rank among those chosen for the same reason, its score, and what the map had there.

    Parameters
    ----------
    maps : the map that the points were chosen by; None before there was one
    points : in the order of the proposal
    kinds : for each point why, and its score: of "refine" the expected misclassified share of the allowed space that
        it takes away, summed over the targets; of "straddle", "timse" and "poisson_disc" as :func:`acquisition.pick`
        tells it; of "explore" its distance from all others in the unit cube.

    """
    of, rank = Counter(why for why, _ in kinds), Counter[str]()
    found = []
    expected = _expected(maps, points)
    for (why, score), there in zip(kinds, expected, strict=True):
        rank[why] += 1
        told: dict[str, Any] = {"why": why, "rank": rank[why], "of": of[why]}
        if score is not None and math.isfinite(score):
            told["score"] = _short(score)
        found.append(told | ({"expected": there} if there else {}))
    return tuple(found)


def _expected(maps: Maps | None, points: Sequence[Mapping[str, Any]]) -> list[dict[str, dict[str, float]]]:
    """For each point target -> mean, sd and p_excluded, without what is no finite number."""
    if maps is None or not points:
        return [{} for _ in points]
    predicted = {t: {"mean": p.mean.tolist(), "sd": p.sd.tolist(), "p_excluded": p.p_excluded.tolist()}
                 for t, p in maps.predict(points).items()}  # fmt: skip
    return [
        {t: {k: _short(v[i]) for k, v in columns.items() if math.isfinite(v[i])} for t, columns in predicted.items()}
        for i in range(len(points))
    ]


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
