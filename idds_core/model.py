"""What a user defines: steps, a loop around them, a workflow. Plain values; nothing is checked at construction.

All mistakes of a definition are found together, by :func:`idds_core.definition.validate`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from idds_core.quantities import normalise, parse_bytes, parse_seconds
from idds_core.space import STRICT, Space

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Loop",
    "Requirements",
    "Retry",
    "Step",
    "Workflow",
    "chain",
    "command",
    "parse_bytes",
    "parse_seconds",
    "step",
]


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a job needs.

    cores : processor cores.
    memory : bytes, or text like "4GB"; None is no limit.
    walltime : seconds, or text like "2h".
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    cores: int = 1
    memory: int | None = None
    walltime: float = 3600.0

    if TYPE_CHECKING:

        def __init__(self, cores: int = 1, memory: int | str | None = None, walltime: float | str = 3600.0) -> None: ...

    def __post_init__(self) -> None:
        normalise(self, "memory", parse_bytes)
        normalise(self, "walltime", parse_seconds)
        if isinstance(self.memory, float) and self.memory.is_integer():  # 4e9 is a whole number of bytes
            object.__setattr__(self, "memory", int(self.memory))


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job is tried: `attempts` in all for the user's own failures, after `wait` seconds."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    attempts: int = 3
    wait: float = 0.0


@dataclass(frozen=True)
class Step:
    """One box of the workflow: a Python function by reference or a command line.

    Attributes
    ----------
    name : str
    function : str or None
        ``module:qualname``.
    arguments, optional : names of the function's arguments without and with a default.
    context : whether the function takes ``ctx``.
    returns_file : whether the function is annotated to return one File (output name "output").
    run : argv tokens with placeholders ``{m_zp}``, ``{generate.events}``, ``{seed}``; no shell.
    outputs : name -> file name that the command leaves in its folder.
    result : name of a JSON file with values that the command leaves in its folder.
    provider : names of providers that may run it, "a | b"; None is any.
    split : number of chunks at each point, or their size: "10000 events" cuts the parameter ``events`` into chunks of
        at most 10000. A job sees ``chunk``, ``chunks``, and of a size also ``first_events`` and its own ``events``.
        A later step of the same split goes on chunk by chunk; any other sees the list of all of them.
    foreach : names of variants (systematics); a job sees ``variant``. A later step that names them too goes on variant
        by variant; any other sees a mapping from variant to output.
    merge : join the chunks of each variant of the step before.
    accept : share of the quanta (events, or chunks) of each variant that suffices when jobs fail for good.
    keep_checkpoint : keep the checkpoint folder of a job that is done.
    keep : how long files of its attempts are kept: "always", "until_merged" (the point has ended), or "30d" after that.

    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    name: str
    function: str | None = None
    arguments: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    context: bool = False
    returns_file: bool = False
    run: tuple[str, ...] | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    result: str | None = None
    provider: str | None = None
    requires: Requirements = field(default_factory=Requirements)
    retry: Retry = field(default_factory=Retry)
    keep: str = "always"
    keep_checkpoint: bool = False
    split: int | str = 1
    foreach: tuple[str, ...] = ()
    merge: bool = False
    accept: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.foreach, list):
            object.__setattr__(self, "foreach", tuple(self.foreach))


@dataclass(frozen=True)
class FunctionStep(Step):
    """A step made from a function; it can still be called as that function."""

    target: Callable[..., Any] | None = field(default=None, compare=False, repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        if self.target is None:
            raise TypeError(f"step {self.name} has no function")
        return self.target(*args, **kwargs)


def _function_step(target: Callable[..., Any], options: Mapping[str, Any]) -> FunctionStep:
    name = getattr(target, "__name__", repr(target))
    reference = f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', name)}"
    parameters = inspect.signature(target).parameters
    named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "ctx"]
    returns = getattr(target, "__annotations__", {}).get("return")
    return FunctionStep(
        name=options.get("name") or name,
        function=reference,
        arguments=tuple(p.name for p in named if p.default is p.empty),
        optional=tuple(p.name for p in named if p.default is not p.empty),
        context="ctx" in parameters,
        returns_file=getattr(returns, "__name__", returns) in ("File", "idds_core.File"),
        target=target,
        **{k: v for k, v in options.items() if k != "name"},
    )


@overload
def step(target: Callable[..., Any], /) -> FunctionStep: ...
@overload
def step(
    *,
    name: str = ...,
    provider: str | None = ...,
    requires: Requirements = ...,
    retry: Retry = ...,
    split: int | str = ...,
    foreach: Iterable[str] = ...,
    merge: bool = ...,
    accept: float = ...,
    keep_checkpoint: bool = ...,
    keep: str = ...,
) -> Callable[[Callable[..., Any]], FunctionStep]: ...
def step(target: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a step of a function; used as ``@step`` or ``@step(requires=..., retry=...)``.

    Arguments bind by name: a parameter of the point, a parameter of the definition, a named output of an earlier
    step; a single argument that is left over binds to the single output of the step before. ``ctx`` is the
    :class:`~idds_core.runner.context.Context`.
    """
    if target is not None:
        return _function_step(target, options)
    return lambda function: _function_step(function, options)


def command(
    name: str,
    run: str | Iterable[str],
    *,
    outputs: Mapping[str, str] | None = None,
    result: str | None = None,
    provider: str | None = None,
    requires: Requirements | None = None,
    retry: Retry | None = None,
    split: int | str = 1,
    foreach: Iterable[str] = (),
    merge: bool = False,
    accept: float = 1.0,
    keep_checkpoint: bool = False,
    keep: str = "always",
) -> Step:
    """A step that runs a command line, split like a shell does but never given to one.

    >>> command("simulate", "./mc.sh {m_zp} {seed}", outputs={"events": "events.txt"}).run
    ('./mc.sh', '{m_zp}', '{seed}')
    """
    import shlex

    tokens = shlex.split(run) if isinstance(run, str) else [str(token) for token in run]
    return Step(
        name=name,
        run=tuple(tokens),
        outputs=dict(outputs or {}),
        result=result,
        provider=provider,
        requires=requires or Requirements(),
        retry=retry or Retry(),
        split=split,
        foreach=tuple(foreach),
        merge=merge,
        accept=accept,
        keep_checkpoint=keep_checkpoint,
        keep=keep,
    )


def chain(*elements: Step | Loop) -> tuple[Step | Loop, ...]:
    """Steps, and loops, run one after the other; each sees the outputs of all before it."""
    return elements


@dataclass(frozen=True)
class Loop:
    """A part of the workflow that is repeated: its steps, a learner, and conditions to stop.

    Attributes
    ----------
    name : str
    space : Space
    body : steps, as given by :func:`chain`; also loops, which then run once at each point of this one.
    learner : a learner (a frozen dataclass), or its JSON description.
    until : a condition (they combine with ``&``, ``|``, ``~``), or its JSON description.
    batch, first : number of points of an iteration, and of the first one.
    targets : what an observation must have; the learner's own targets by default.
    parameters : values of the definition, seen by all steps.
    mode : "batch": the learner is asked when all points of an iteration have ended, and the loop depends on nothing
        but its definition and its results. "steady": it is asked as soon as `top_up` points have ended, so that about
        `batch` points are pending at any time and no slot waits for the slowest of a batch; the loop depends on the
        order in which results came, which is recorded. Give as `batch` the number of slots there are.
    top_up : in steady mode, how many points must end before the learner is asked again.
    hold_after : the loop is held after so many identical failures in a row.
    blind : targets that are sealed until somebody unblinds them: neither the learner nor anybody else sees them.
    prune : a rule that ends jobs by what they report on their way, or its JSON description; None prunes nothing.
    reads : names of loops before this one whose histories its learner is shown; the learner's own by default.

    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    name: str
    space: Space
    body: tuple[Step | Loop, ...]
    learner: Any
    until: Any
    batch: int = 8
    first: int = 10
    targets: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    mode: Literal["batch", "steady"] = "batch"
    top_up: int = 1
    hold_after: int = 5
    blind: tuple[str, ...] = ()
    prune: Any = None
    reads: tuple[str, ...] = ()

    @property
    def open_targets(self) -> tuple[str, ...]:
        """Targets that may be seen."""
        return tuple(t for t in self.targets if t not in self.blind)

    def run(self, workdir: str | Path | None = None, *, seed: int = 0) -> Any:
        """Run the loop on this machine until it concludes; the same call resumes it. Returns the engine's result."""
        from importlib.metadata import entry_points

        engine = entry_points(group="idds_core.engines")["embedded"].load()
        return engine(self, workdir, seed)

    def ask(self, n: int | None = None, workdir: str | Path | None = None, *, seed: int = 0) -> Any:
        """The points that a person is to measure now, at most `n`: for a loop without steps, ``body=chain()``."""
        from importlib.metadata import entry_points

        return entry_points(group="idds_core.engines")["ask"].load()(self, n, workdir, seed)

    def tell(
        self,
        point: int,
        *,
        infeasible: str | None = None,
        workdir: str | Path | None = None,
        seed: int = 0,
        **values: float | str,
    ) -> Any:
        """What a person has measured at the point of that number; returns where the loop stands.

        ``loop.tell(3, cls=0.04, cls_sigma=0.01)``, ``loop.tell(3, mu_up=100, mu_up_censored="above")``, or
        ``loop.tell(3, infeasible="why")``.
        """
        from importlib.metadata import entry_points

        return entry_points(group="idds_core.engines")["tell"].load()(self, point, values, infeasible, workdir, seed)

    def _repr_html_(self) -> str:
        from idds_core.display import loop_html

        return loop_html(self)


@dataclass(frozen=True)
class Workflow:
    """The top-level entity: a scientific objective, as steps and loops one after the other.

    Attributes
    ----------
    name : str
    body : steps and loops, as given by :func:`chain`. A step outside of all loops runs once; what is before a loop is
        seen inside it by name; after it there is ``{name.result}``, a JSON file of what the loop has found.
    parameters : values of the definition, seen by all steps of all loops.

    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    name: str
    body: tuple[Step | Loop, ...]
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, definition: Loop | Workflow) -> Workflow:
        """The workflow itself, or one around a single loop, named as the loop."""
        return cls(definition.name, (definition,)) if isinstance(definition, Loop) else definition

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The loops that are not inside another."""
        return tuple(e for e in self.body if isinstance(e, Loop))

    @property
    def root(self) -> Loop | None:
        """The hidden loop of one iteration and one point that runs the body; None when the body is a single loop."""
        if len(self.body) == 1 and isinstance(self.body[0], Loop):
            return None
        return Loop("", Space(), self.body, None, None, batch=1, first=1, parameters=self.parameters)

    def elements(self) -> Iterator[tuple[str, Step | Loop]]:
        """(place, element) of all steps and loops, at any depth; a place is ``body.scan.body.generate``."""
        yield from _elements(self.body, "body")

    def steps(self) -> Iterator[tuple[str, Step]]:
        """(place, step) of all steps, at any depth."""
        yield from ((place, e) for place, e in self.elements() if isinstance(e, Step))


def _elements(body: tuple[Step | Loop, ...], where: str) -> Iterator[tuple[str, Step | Loop]]:
    for element in body if isinstance(body, (list, tuple)) else ():
        place = f"{where}.{getattr(element, 'name', '')}"
        yield place, element
        if isinstance(element, Loop):
            yield from _elements(element.body, f"{place}.body")
