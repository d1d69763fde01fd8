"""Why a point was chosen: as a document, and as a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from idds_core.store import IMPORTED, Store

__all__ = ["choice", "choice_document", "choice_text"]

#: what is said of the reasons that are known; others are said in the learner's own words
_WORDS = {
    "imported": "it was imported: measured elsewhere, and chosen by nobody here",
    "added": "a person added it",
    "retry": "a person let it be tried again",
    "first design": "it is of the first design, which is spread evenly over the space",
    "random": "it was drawn at random",
    "sequence": "it is the next of a sequence that fills the space evenly",
    "refine": "it was chosen to refine the contour",
    "straddle": "it was chosen to straddle the contour, where the map is near its level and unsure",
    "poisson_disc": "it was chosen in the band around the contour, as far as possible from all other points",
    "timse": "it was chosen to sharpen the map at the contour",
    "explore": "it was chosen to explore, as far as possible from all other points",
}
_UNKNOWN = "its learner does not say why it chose it"
_MOST = 400
_SURE = 1e-3


def choice(store: Store, loop_id: int, number: int, iteration: int) -> dict[str, Any]:
    """Why a point was chosen, as JSON: what its learner, or who brought it, said; `text` is a sentence of it.

    number, iteration : of the point.
    """
    origin = store.queue.origin(loop_id, number)
    told = {
        **store.iterations.chosen(loop_id, number).get(number, {}),
        **({} if origin is None else {"retry_of": origin}),
    }
    return choice_document(told, iteration)


def choice_document(told: Mapping[str, Any], iteration: int) -> dict[str, Any]:
    """The same from what is on record of it."""
    known = {"why": "imported" if iteration == IMPORTED else None, **told}
    return {**known, "text": choice_text(known)}


def choice_text(told: Mapping[str, Any]) -> str:
    """A sentence of it.

    >>> choice_text({"why": "refine", "rank": 2, "of": 6, "score": 0.0042})
    'it was chosen to refine the contour: 2nd of 6, takes 0.42 % of the space out of doubt'
    >>> each = {"50": {"cost": 0.5, "taken": 0.4}, "90": {"cost": 0.9, "taken": 0.6}}
    >>> choice_text({"why": "refine", "events": 50, "choices": each})
    'it was chosen to refine the contour; 50 events take 40 % of the variance there for 0.5 (90: 60 % for 0.9)'
    """
    why = told.get("why")
    words = _WORDS.get(str(why), str(why)[:_MOST]) if why else _UNKNOWN
    more = []
    if isinstance(told.get("retry_of"), int):
        more.append(f"it repeats point {told['retry_of']}")
    if told.get("reason"):
        more.append(str(told["reason"])[:_MOST])
    if isinstance(told.get("rank"), int) and isinstance(told.get("of"), int):
        more.append(f"{_nth(told['rank'])} of {told['of']}")
    if _number(told.get("score")):
        more.append(_scored(why, told["score"]))
    said = ": ".join([words, ", ".join(more)] if more else [words])
    return "; ".join([said, *_events(told), *_expected(told.get("expected"))])


def _events(told: Mapping[str, Any]) -> list[str]:
    """Why so many events, where they were chosen: what each number would have taken away, and cost."""
    number, given = told.get("events"), told.get("choices")
    if not _number(number):
        return []
    each = given if isinstance(given, Mapping) else {}
    known = {
        n: c for n, c in each.items() if isinstance(c, Mapping) and _number(c.get("taken")) and _number(c.get("cost"))
    }
    if str(number) not in known:
        return [f"{number} events"]
    said = {n: f"{100 * c['taken']:.2g} % {{}}for {c['cost']:.3g}" for n, c in known.items()}
    others = "; ".join(f"{n}: {text.format('')}" for n, text in said.items() if n != str(number))
    best = f"{number} events take {said[str(number)].format('of the variance there ')}"
    return [f"{best} ({others})" if others else best]


def _scored(why: object, score: float) -> str:
    if why == "refine":
        return f"takes {100 * score:.2g} % of the space out of doubt"
    if why in ("explore", "poisson_disc"):
        return f"{score:.2g} away in the unit cube"
    return f"score {score:.4g}"


def _expected(found: object) -> list[str]:
    """What the map had there, of each target."""
    if not isinstance(found, Mapping):
        return []
    words = []
    for target, told in found.items():
        given: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        mean, sd, p = given.get("mean"), given.get("sd"), given.get("p_excluded")
        if not _number(mean):
            continue
        text = f"{target} = {mean:.3g}" + (f" \N{PLUS-MINUS SIGN} {sd:.2g}" if _number(sd) else "")
        words.append(f"{text} there" + (f", excluded with {_percent(p)}" if _number(p) else ""))
    return [f"the map had {' and '.join(words)}"] if words else []


def _percent(p: Any) -> str:
    """A probability in so many digits as say something."""
    return "< 0.1 %" if p < _SURE else "> 99.9 %" if p > 1 - _SURE else f"{100 * p:.3g} %"


def _nth(n: int) -> str:
    """Its ordinal.

    >>> [_nth(n) for n in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    end = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{end}"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
