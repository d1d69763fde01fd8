"""Every edge at which a process may be cut: before and after each commit, and beside each act outside of the store."""

__all__ = ["EDGES", "OUTSIDE"]

_COMMITS = (
    "Store.own", "Engine.turn", "Carrier.recover", "Audit.seal",
    "Carrier.collect", "Carrier.claim", "Conductor.step", "Transformer.step", "Jobs.renew", "hold_when_full",
)  # fmt: skip
_CALLS = ("submit", "find", "poll", "cancel", "forget", "running_keys")

#: outside of any transaction: here a process may also stall
OUTSIDE = frozenset(
    {
        *(f"{name}: after commit" for name in _COMMITS),
        *(f"provider.{name}: before" for name in _CALLS),
        *(f"provider.{name}: after" for name in _CALLS),
        "learner.think: before",
        "outbox.send: before",
    }
)

EDGES = (*(f"{name}: before commit" for name in _COMMITS), *sorted(OUTSIDE))
