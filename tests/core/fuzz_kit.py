"""What fuzzing needs: odd values of every kind, texts that are nearly right, and a limit that no input may reach."""

from __future__ import annotations

import contextlib
import signal
import tracemalloc
from collections.abc import Iterator

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = ["ANY_TEXT", "JSON", "ODD", "bounded", "mangled", "quick"]

quick = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))

#: text as JSON can carry it: with NUL, control characters and halves of surrogate pairs
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(-(10**40), 10**40), st.floats(), ANY_TEXT,
    st.sampled_from(["", "nan", "1e999", "../../etc", "/dev/zero", "\x00", "\ud800", "x" * 5000, 2**63, -(2**64)]),
)  # fmt: skip
JSON = st.recursive(ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4))


@contextlib.contextmanager
def bounded(cpu_seconds: float = 10.0, megabytes: float = 200.0) -> Iterator[None]:
    """Fail when more is used: CPU time, so that a busy machine changes nothing, and memory at its peak."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"more than {cpu_seconds} s of CPU")

    before = signal.signal(signal.SIGVTALRM, too_long)
    tracemalloc.start()
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        assert peak < megabytes, f"{peak:.0f} MB"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        tracemalloc.stop()


@st.composite
def mangled(draw: st.DrawFn, text: str, pieces: list[str]) -> str:
    """A text with up to four cuts, repetitions and strange insertions."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        middle = draw(st.one_of(st.just(""), st.sampled_from(pieces), ANY_TEXT, st.just(text[start:end] * 50)))
        text = text[:start] + middle + text[end:]
    return text
