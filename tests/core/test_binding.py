"""What a step gets at a point, and what counts as its observation."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idds_core import command, step
from idds_core.binding import BindingError, Given, bind, joined, observe, placeholders
from idds_core.ports import Command, Function

quick = settings(derandomize=True, deadline=None, max_examples=50, database=None)


def result(files: Any = None, **values: Any) -> Any:
    return {"values": values, "files": {k: {"path": v, "bytes": 1, "sha256": "0"} for k, v in (files or {}).items()}}


def seen(upstream: Any) -> Any:
    return joined((), step(lambda: None), [Given(*given) for given in upstream], "", 0)


def arguments(function: Any, values: Any, *upstream: Any) -> Any:
    payload = bind(step(function), values, seen(upstream), "/bundle", 7)
    assert isinstance(payload, Function)
    return payload.arguments


def argv(run: Any, values: Any = (), *upstream: Any) -> Any:
    payload = bind(command("mc", run), dict(values), seen(upstream), "/bundle", 7)
    assert isinstance(payload, Command)
    return payload.argv


# ---------------------------------------------------------------------- functions
def test_arguments_are_parameters_by_name() -> None:
    assert arguments(lambda m_zp, m_a: None, {"m_zp": 500.0, "m_a": 200.0, "more": 1}) == {"m_zp": 500.0, "m_a": 200.0}


def test_a_default_is_left_to_the_function_unless_there_is_such_a_name() -> None:
    def f(x: Any, scale: Any = 1.0, tag: Any = "a") -> None: ...

    assert arguments(f, {"x": 1.0, "tag": "b"}) == {"x": 1.0, "tag": "b"}


def test_a_parameter_wins_over_an_output_of_that_name() -> None:
    assert arguments(lambda x: None, {"x": 1.0}, ("a", result(x=2.0))) == {"x": 1.0}


def test_the_output_of_the_later_step_wins() -> None:
    assert arguments(lambda x: None, {}, ("a", result(x=1.0)), ("b", result(x=2.0, y=0))) == {"x": 2.0}


def test_a_named_output_wins_over_a_step_of_that_name() -> None:
    assert arguments(lambda b: None, {}, ("a", result(b=1.0)), ("b", result(x=2.0, y=0))) == {"b": 1.0}


def test_a_step_s_name_stands_for_its_single_output_or_for_all_of_them() -> None:
    assert arguments(lambda a: None, {}, ("a", result(x=1.0)), ("b", result(y=2.0, z=3.0))) == {"a": 1.0}
    assert arguments(lambda b: None, {}, ("a", result(x=1.0)), ("b", result(y=2, z=3))) == {"b": {"y": 2, "z": 3}}


def test_a_single_argument_left_over_is_the_single_output_of_the_step_before() -> None:
    upstream = ("generate", result({"output": "/w/events.npz"}))
    assert arguments(lambda events, m_zp: None, {"m_zp": 1.0}, upstream) == {
        "m_zp": 1.0, "events": {"$file": "/w/events.npz"}}  # fmt: skip


def test_only_the_step_before_gives_what_is_left_over() -> None:
    with pytest.raises(BindingError, match="argument events of"):
        arguments(lambda events: None, {}, ("a", result(x=1)), ("b", result(y=1, z=2)))


def test_an_output_taken_by_its_name_is_not_given_twice() -> None:
    with pytest.raises(BindingError, match="argument evnets of"):
        arguments(lambda events, evnets: None, {}, ("a", result(events=1)))


def test_two_arguments_left_over_stand_for_nothing() -> None:
    with pytest.raises(BindingError, match=r"argument p, q of .* stands for nothing; there are a, x"):
        arguments(lambda p, q: None, {}, ("a", result(x=1)))


def test_without_steps_before_nothing_is_left_over() -> None:
    with pytest.raises(BindingError, match="there are nothing"):
        arguments(lambda p: None, {})


def test_a_function_is_given_by_reference_with_its_bundle() -> None:
    def f(ctx: Any, x: Any) -> None: ...

    payload = bind(step(f), {"x": 1}, [], "/bundle", 7)
    assert isinstance(payload, Function)
    assert payload.reference.endswith(".f")
    assert (payload.bundle, payload.arguments, payload.context) == ("/bundle", {"x": 1}, True)


# ---------------------------------------------------------------------- commands
def test_placeholders_are_parameters_seed_bundle_and_outputs_of_steps() -> None:
    upstream = ("generate", result({"events": "/w/e.txt"}, n=12))
    tokens = argv("run {m_zp} {seed} {bundle}/x {generate.events} {generate.n}", {"m_zp": 0.1}, upstream)
    assert tokens == ("run", "0.1", "7", "/bundle/x", "/w/e.txt", "12")


def test_a_token_may_hold_several_and_stays_one_token() -> None:
    assert argv(["run", "--point={x},{y}"], {"x": "a b", "y": "$HOME; rm"}) == ("run", "--point=a b,$HOME; rm")


def test_doubled_braces_are_braces() -> None:
    assert argv(["awk", "{{print {x}}}", "{{x}}"], {"x": 1}) == ("awk", "{print 1}", "{x}")


@pytest.mark.parametrize("token", ["{}", "{0}", "{a b}", "{a-b}", "{a.b.c}", "{ x }", "{", "}", "$x", "%s"])
def test_other_braces_are_left_alone(token: Any) -> None:
    assert argv(["echo", token]) == ("echo", token)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (0.1, "0.1"), (1e-300, "1e-300"), ("a b", "a b"), (True, "true"), (None, "null"), ([1, "a"], '[1,"a"]'),
     ({"b": 1, "a": 2}, '{"a":2,"b":1}'), ({"$file": "/w/f"}, "/w/f")],
)  # fmt: skip
def test_values_are_written_as_they_are_or_as_json(value: Any, text: Any) -> None:
    assert argv("echo {x}", {"x": value}) == ("echo", text)


def test_a_value_is_never_read_as_a_placeholder_again() -> None:
    assert argv("echo {x}", {"x": "{seed}"}) == ("echo", "{seed}")


def test_a_program_beside_the_scan_file_is_that_of_the_bundle() -> None:
    assert argv("./mc.sh ./data") == ("/bundle/mc.sh", "./data")


def test_a_placeholder_that_stands_for_nothing_is_an_error() -> None:
    with pytest.raises(BindingError, match=r"placeholder \{generate.events\} of mc stands for nothing"):
        argv("echo {generate.events}")


def test_outputs_and_result_go_with_the_command() -> None:
    payload = bind(command("mc", "true", outputs={"e": "e.txt"}, result="r.json"), {}, [], "/b", 0)
    assert payload == Command(("true",), {"e": "e.txt"}, "r.json")


def test_the_names_in_braces_are_known_beforehand() -> None:
    assert placeholders(command("mc", "a {x} {{y}} {s.z}{x}")) == ["x", "s.z", "x"]
    assert placeholders(dataclasses.replace(command("mc", "a"), run=None)) == []


@quick
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_text_reaches_the_program_as_it_is(text: Any) -> None:
    assert argv(["echo", "{x}"], {"x": text}) == ("echo", text)


# ---------------------------------------------------------------------- observations
def test_an_observation_is_targets_sigmas_and_extras() -> None:
    seen = observe({"obs": 1, "exp": 0.2, "obs_sigma": 0.1, "events": 12, "tag": "a", "ok": True}, ["obs", "exp"])
    assert (seen.values, seen.sigmas, seen.extras) == ({"obs": 1.0, "exp": 0.2}, {"obs": 0.1}, {"events": 12.0})
    assert all(type(v) is float for v in (*seen.values.values(), *seen.extras.values()))


def test_a_sigma_of_something_else_is_an_extra() -> None:
    assert observe({"obs": 1.0, "exp_sigma": 0.1}, ["obs"]).extras == {"exp_sigma": 0.1}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "no value of obs; there are none"),
        ({"exp": 1.0}, "no value of obs; there are exp"),
        ({"obs": math.nan}, "obs is nan"),
        ({"obs": math.inf}, "obs is inf"),
        ({"obs": -math.inf}, "obs is -inf"),
        ({"obs": 10**400}, "obs is beyond all floats"),
        ({"obs": "0.2"}, "obs is '0.2', not a number"),
        ({"obs": True}, "obs is True, not a number"),
        ({"obs": None}, "obs is None, not a number"),
        ({"obs": [0.2]}, "obs is [0.2], not a number"),
        ({"obs": {"value": 0.2}}, "not a number"),
        ({"obs": 0.2, "events": math.nan}, "events is nan"),
        ({"obs": 0.2, "obs_sigma": -0.1}, "obs_sigma is negative"),
        ({"obs": 0.2, "obs_sigma": math.inf}, "obs_sigma is inf"),
        ({"obs": 0.2, "obs_sigma": "small"}, "obs_sigma is 'small', not a number"),
        ({"obs": 0.2, "obs_sigma": None}, "obs_sigma is None, not a number"),
    ],
)
def test_what_is_no_observation_is_refused_with_the_reason(values: Any, why: Any) -> None:
    with pytest.raises(BindingError) as caught:
        observe(values, ["obs"])
    assert why in str(caught.value)


def test_all_missing_targets_are_named() -> None:
    with pytest.raises(BindingError, match="no value of obs, exp; there are other"):
        observe({"other": 1.0}, ["obs", "exp"])


anything = st.one_of(st.floats(), st.integers(), st.text(max_size=3), st.booleans(), st.none())


@quick
@given(st.dictionaries(st.sampled_from(["obs", "obs_sigma", "exp", "n"]), anything))
def test_whatever_comes_is_finite_numbers_or_refused(values: Any) -> None:
    try:
        seen = observe(values, ["obs"])
    except BindingError:
        return
    assert set(seen.values) == {"obs"}
    assert all(math.isfinite(v) for part in (seen.values, seen.sigmas, seen.extras) for v in part.values())
