"""Every edge at which a process may be cut: before and after each commit, and beside each act outside of the store."""

__all__ = ["APART", "EDGES", "EMBEDDED", "OUTSIDE"]

_ALWAYS = ("Carrier.recover", "Audit.seal")
_TOGETHER = (*_ALWAYS, "Store.own", "Engine.turn", "hold_when_full")
_EACH = (*_ALWAYS, "Carrier.collect", "Carrier.claim", "Conductor.step", "Transformer.step", "Jobs.renew")
_CALLS = ("submit", "find", "poll", "cancel", "forget", "running_keys")
_ACTS = (
    *(f"provider.{name}: {when}" for name in _CALLS for when in ("before", "after")),
    "learner.think: before",
    "outbox.send: before",
)


def _edges(commits: tuple[str, ...]) -> tuple[str, ...]:
    return (*(f"{name}: {when} commit" for name in commits for when in ("before", "after")), *_ACTS)


#: those of an embedded engine, whose agents share a commit, and those of agents apart
EMBEDDED, APART = _edges(_TOGETHER), _edges(_EACH)
EDGES = tuple(dict.fromkeys((*EMBEDDED, *APART)))
#: outside of any transaction: here a process may also stall
OUTSIDE = frozenset(edge for edge in EDGES if not edge.endswith("before commit"))
