"""Which results at a point stand when some of its jobs run again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from idds_core.model import Loop, Step
from idds_core.parameters import Real
from idds_core.partition import parts, standing
from idds_core.space import Space
from tests.world import function


def cut(name: str, **options: Any) -> Step:
    return replace(function(name), **options)


def test_a_chunk_stands_with_its_own_chunk_before_it() -> None:
    body = [cut("a", split="10 n"), cut("b", split="10 n"), cut("c", merge=True)]
    found = parts(body, {"n": 30})
    known = {p.place for p in found} - {("a", "", 1)}
    assert standing(body, found, known) == {("a", "", 0), ("a", "", 2), ("b", "", 0), ("b", "", 2)}


def test_what_sees_all_chunks_stands_when_all_of_them_do() -> None:
    body = [cut("a", split="10 n"), cut("b"), cut("c")]
    found = parts(body, {"n": 20})
    everything = {p.place for p in found}
    assert standing(body, found, everything) == everything
    assert standing(body, found, everything - {("b", "", 0)}) == {("a", "", 0), ("a", "", 1)}


def test_a_variant_stands_by_itself_until_variants_are_seen_together() -> None:
    body = [cut("a", foreach=("up", "down")), cut("b", foreach=("up", "down")), cut("c")]
    found = parts(body, {})
    known = {p.place for p in found} - {("a", "up", 0)}
    assert standing(body, found, known) == {("a", "down", 0), ("b", "down", 0)}


def test_nothing_stands_after_a_loop_for_it_runs_again() -> None:
    inner = Loop("inner", space=Space(x=Real(0, 1)), body=(), learner=None, until=None)
    body: list[Step | Loop] = [cut("a"), inner, cut("b")]
    found = parts(body, {})
    assert standing(body, found, {p.place for p in found}) == {("a", "", 0)}
