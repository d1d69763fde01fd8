"""What a user writes: steps, loops, quantities. Values only; nothing is checked here."""

# What is of the wrong type here is so on purpose.
# mypy: disable-error-code="arg-type, call-overload, list-item, misc"

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idds_core import Context, File, Loop, Real, Requirements, Retry, Space, Workflow, chain, command, step
from idds_core.model import parse_bytes, parse_seconds

quick = settings(derandomize=True, deadline=None, max_examples=50, database=None)


# ---------------------------------------------------------------------- quantities
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4GB", 4 * 10**9),
        ("4GiB", 4 * 2**30),
        ("4 gb", 4 * 10**9),
        (" 1.5 KiB ", 1536),
        ("10MB", 10**7),
        ("1MiB", 2**20),
        ("2TB", 2 * 10**12),
        ("1TiB", 2**40),
        ("3kB", 3000),
        ("7B", 7),
        ("7", 7),
        (7, 7),
        (7.9, 7),
    ],
)
def test_bytes_are_decimal_or_binary_by_their_unit(text: Any, number: Any) -> None:
    assert parse_bytes(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("2h", 7200.0), ("5min", 300.0), ("5m", 300.0), ("30s", 30.0), ("1.5d", 129600.0), ("90", 90.0), (90, 90.0)],
)
def test_times_are_in_seconds(text: Any, number: Any) -> None:
    assert parse_seconds(text) == number


@pytest.mark.parametrize("text", ["", "GB", "4 G B", "-4GB", "4XB", "1e3", "4,5GB", "nan", "inf", "0x10", "9" * 400])
def test_what_is_no_quantity_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a number with|is too large"):
        parse_bytes(text)


@quick
@given(st.integers(0, 10**12), st.sampled_from(["", "B", "kB", "MB"]))
def test_whole_numbers_of_bytes_are_exact(n: Any, unit: Any) -> None:
    assert parse_bytes(f"{n}{unit}") == n * {"": 1, "B": 1, "kB": 10**3, "MB": 10**6}[unit]


def test_requirements_are_read_where_they_can_be() -> None:
    assert Requirements(cores=2, memory="1GiB", walltime="2h") == Requirements(2, 2**30, 7200.0)
    assert Requirements(memory=4e9).memory == 4_000_000_000
    assert type(Requirements(memory=4e9).memory) is int


@pytest.mark.parametrize("text", ["lots", "9" * 400 + "GB"])
def test_requirements_that_cannot_be_read_stay_for_the_validation_to_name(text: Any) -> None:
    assert Requirements(memory=text, walltime=text) == Requirements(memory=text, walltime=text)
    assert Requirements(memory=text).memory == text


# ---------------------------------------------------------------------- steps
@step
def plain(m_zp: float, m_a: float, scale: float = 1.0) -> dict[str, float]:
    return {"obs": scale * (m_zp - m_a)}


@step(name="make", requires=Requirements(cores=2), retry=Retry(1), provider="local")
def with_options(ctx: Context, m_zp: float, *, events: int) -> File:
    return ctx.file(f"{m_zp}-{events}")


def test_a_function_step_knows_its_arguments() -> None:
    assert (plain.name, plain.arguments, plain.optional) == ("plain", ("m_zp", "m_a"), ("scale",))
    assert plain.function == f"{__name__}:plain"
    assert not plain.context
    assert not plain.returns_file


def test_a_function_step_takes_options() -> None:
    assert (with_options.name, with_options.arguments) == ("make", ("m_zp", "events"))
    assert with_options.context
    assert with_options.returns_file
    assert (with_options.requires.cores, with_options.retry.attempts, with_options.provider) == (2, 1, "local")


def test_a_step_can_still_be_called_as_the_function_it_is() -> None:
    assert plain(500.0, 200.0) == {"obs": 300.0}


def test_a_step_without_its_function_cannot_be_called() -> None:
    with pytest.raises(TypeError, match="has no function"):
        dataclasses.replace(plain, target=None)(1, 2)


def test_an_unknown_option_of_a_step_is_refused() -> None:
    with pytest.raises(TypeError, match="retries"):
        step(retries=3)(lambda x: x)


def test_a_command_line_is_split_as_a_shell_does_and_given_to_none() -> None:
    made = command("mc", "./mc.sh '{m_zp} GeV' --seed={seed} $HOME", outputs={"events": "e.txt"}, result="r.json")
    assert made.run == ("./mc.sh", "{m_zp} GeV", "--seed={seed}", "$HOME")
    assert (made.outputs, made.result) == ({"events": "e.txt"}, "r.json")


def test_a_command_may_be_given_in_tokens() -> None:
    assert command("mc", ["sim", 5, "a b"]).run == ("sim", "5", "a b")


def test_a_chain_is_its_steps_in_order() -> None:
    assert chain(plain, with_options) == (plain, with_options)


# ---------------------------------------------------------------------- loops
def test_a_loop_alone_is_a_workflow_of_its_name() -> None:
    loop = Loop("scan", space=Space(x=Real(0, 1)), body=chain(plain), learner=None, until=None)
    assert Workflow.of(loop) == Workflow("scan", (loop,))
    assert Workflow.of(Workflow("w", (loop,))) == Workflow("w", (loop,))


def test_the_defaults_of_a_loop_are_those_of_the_documentation() -> None:
    loop = Loop("scan", space=Space(), body=(), learner=None, until=None)
    assert (loop.batch, loop.first, loop.hold_after, loop.mode) == (8, 10, 5, "batch")
    assert (Requirements().walltime, Retry().attempts) == (3600.0, 3)


def test_values_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.name = "other"
