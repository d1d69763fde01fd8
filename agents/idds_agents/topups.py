"""What people may add to a measured point: another replicate, or more of what its steps are cut by. All is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idds_agents.catalog import LoopPlan
from idds_core.errors import IddsError, did_you_mean
from idds_core.history import History, Point
from idds_core.model import Step
from idds_core.partition import parts, split_of
from idds_core.states import PointState
from idds_core.store import IMPORTED, Asked, LoopRecord, Store

__all__ = ["Addition", "addition", "said_of", "words"]


@dataclass(frozen=True)
class Addition:
    """What is to be added to a point.

    point : the one that counts now. times : how many new points. what : in words; `times` is 0 when nothing is to do.
    """

    point: Point
    adds: Mapping[str, Any]
    given: Mapping[str, Any]
    times: int
    what: str

    def asked(self, retry_of: int | None) -> list[Asked]:
        """The points that are asked for. retry_of : id of one that failed to add the same."""
        return [Asked(self.point.parameters, retry_of, self.adds, self.given)] * self.times


def addition(store: Store, loop: LoopRecord, plan: LoopPlan, arguments: Mapping[str, Any]) -> Addition:
    """What a request means for the points that there are.

    Raises
    ------
    IddsError
        When it cannot be.

    """
    points = store.iterations.points(loop.id)
    point = _point(points, plan, int(arguments["point"]))
    under_way = [w.adds for w in store.queue.waiting(loop.id) if w.adds]
    under_way += [p.adds for p in points if p.adds and p.state is PointState.OPEN]
    under_way = [a for a in under_way if a["to"] == point.number]
    given = store.top_ups.given(loop.id, point.number)
    values = arguments.get("values") or {}
    if values:
        return _more(store, loop, plan, point, values, given, under_way)
    adds = {"to": point.number, "replicate": True}
    times = max(0, int(arguments.get("replicates", 1)) - sum("replicate" in a for a in under_way))
    what = f"{times} replicate{'s' if times != 1 else ''} of p/{point.number}"
    return Addition(point, adds, given, times, what if times else f"p/{point.number} is being measured again already")


def _point(points: tuple[Point, ...], plan: LoopPlan, number: int) -> Point:
    """The point that counts where one was measured."""
    if not 1 <= number <= len(points):
        raise IddsError.of("E-TOPUP-001", f"there is no point {number}", f"there are {len(points)}", plan.path,
                           "'idds-core ls' says which there are.")  # fmt: skip
    replaced = History(plan.loop.space, points=points).replaced
    while number in replaced:
        number = replaced[number]
    point = points[number - 1]
    path = plan.point_path(point.iteration, number)
    if point.state is not PointState.MEASURED:
        fix = {PointState.OPEN: "Wait until it has ended.", PointState.FAILED: f"'idds-core retry --point {number}'.",
               PointState.DROPPED: f"'idds-core retry --point {number}'."}  # fmt: skip
        raise IddsError.of("E-TOPUP-002", f"{path} cannot be topped up", f"it is {point.state}, not MEASURED", path,
                           fix.get(point.state, "Only what was measured can be topped up."))  # fmt: skip
    if point.iteration == IMPORTED:
        raise IddsError.of("E-TOPUP-003", f"{path} cannot be topped up", "it was measured elsewhere", path,
                           "Only what its steps have measured can be topped up.")  # fmt: skip
    return point


# ---------------------------------------------------------------------- more of the same
def _more(
    store: Store, loop: LoopRecord, plan: LoopPlan, point: Point, values: Mapping[str, Any], given: Mapping[str, Any],
    under_way: list[Mapping[str, Any]],
) -> Addition:  # fmt: skip
    path = plan.point_path(point.iteration, point.number)
    here = {**plan.values, **point.parameters, **given}
    totals = {name: _total(store, loop, plan, path, name, value, here) for name, value in values.items()}
    more = {name: total - int(here[name]) for name, total in totals.items() if total > int(here[name])}
    adds = {"to": point.number, "more": more}
    told = ", ".join(f"{n} {name} more ({totals[name]} in all)" for name, n in more.items())
    if not more:
        has = ", ".join(f"{total} {name}" for name, total in totals.items())
        return Addition(point, adds, given, 0, f"p/{point.number} has {has} already")
    busy = [a for a in under_way if a.get("more")]
    if busy and busy[0]["more"] != more:
        going = ", ".join(f"{n} {name} more" for name, n in busy[0]["more"].items())
        raise IddsError.of("E-TOPUP-005", f"{path} is being topped up", f"it gets {going}", path,
                           "Wait until that has ended; then top up what it gives.")  # fmt: skip
    if busy:
        return Addition(point, adds, given, 0, f"p/{point.number} gets {told} already")
    try:
        parts(plan.loop.body, {**here, **totals})
    except ValueError as error:
        raise IddsError.of("E-TOPUP-004", f"{path} cannot be topped up", str(error), path, "Ask for less.") from None
    return Addition(point, adds, {**given, **totals}, 1, f"p/{point.number} gets {told}")


def _total(
    store: Store, loop: LoopRecord, plan: LoopPlan, path: str, name: str, value: Any, here: Mapping[str, Any]
) -> int:
    """How many quanta there are to be in all."""

    def wrong(why: str, fix: str) -> IddsError:
        return IddsError.of("E-TOPUP-004", f"{path} cannot have another value of {name}", why, path, fix)

    units = {split_of(step)[1] for step in plan.loop.body if isinstance(step, Step)} - {""}
    if name in _coordinates(store, loop, plan):
        raise wrong("it is a coordinate of the space", f"'idds-core add' lets another point in, say {name}={value}.")
    if name not in units:
        known = did_you_mean(name, units) or f"Steps are cut by {', '.join(sorted(units))}."
        raise wrong("no step is cut by it", known if units else
                    f"Cut a step by it, split=\"1000 {name}\", or add a replicate.")  # fmt: skip
    if isinstance(value, bool) or not str(value).isdecimal():
        raise wrong(f"{value!r} is no whole number", "Give how many there are to be in all.")
    if int(value) < int(here[name]):
        raise wrong(f"it has {here[name]} already", "Give how many there are to be in all, the old ones included.")
    return int(value)


def _coordinates(store: Store, loop: LoopRecord, plan: LoopPlan) -> set[str]:
    """Parameters of the loop's space, and of those around it."""
    found, around = set(plan.loop.space.names), loop
    while around.parent_point is not None:
        outer = store.points.outer(around.parent_point)
        found |= set(outer.parameters)
        around = store.workflows.loop(outer.loop_id)
    return found


# ---------------------------------------------------------------------- for people
def words(adds: Mapping[str, Any] | None) -> str:
    """What a point adds.

    >>> words({"to": 7, "replicate": True}), words({"to": 7, "more": {"events": 40000}}), words(None)
    ('replicate', '40000 events', '')
    """
    if not adds:
        return ""
    return ", ".join(f"{n} {name}" for name, n in adds["more"].items()) if adds.get("more") else "replicate"


def said_of(adds: Mapping[str, Any] | None, replaced_by: int | None = None) -> str:
    """What a point adds to which other, and which one counts in its place.

    >>> said_of({"to": 7, "replicate": True}), said_of({"to": 7, "more": {"events": 40000}}, 19), said_of(None)
    ('replicate of p/7', '40000 events more than p/7, replaced by p/19', '')
    """
    to = adds["to"] if adds else 0
    own = [] if not adds else [f"{words(adds)} more than p/{to}" if adds.get("more") else f"replicate of p/{to}"]
    return ", ".join([*own, *([] if replaced_by is None else [f"replaced by p/{replaced_by}"])])
