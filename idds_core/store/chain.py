"""The chain over the event log: a sealer numbers events densely, and each hash covers an event and the hash before.

Events are appended without any order between writers. The sealer numbers what it can see and what has no number, so an
event whose transaction commits late is sealed later and never left out; it holds the row of the chain's head meanwhile,
so that two sealers never number the same event. Number, hash and head are written in one transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from idds_core.store import tables
from idds_core.store.database import Database

__all__ = ["CHAIN", "Head", "head_of", "is_whole", "seal", "sealed_as", "walk"]

#: key in ``meta``: number and hash of the event that was sealed last
CHAIN = "chain"
_E = tables.event.c
#: what a hash covers, in this order, after the seal number
_CONTENT = (_E.id, _E.entity, _E.entity_id, _E.old, _E.new, _E.actor, _E.reason, _E.at)
_NEW = sa.select(*_CONTENT).where(_E.seal_no.is_(None)).order_by(_E.id).limit(sa.bindparam("limit"))
# numbered by a version that had no hashes; the numbers stay
_NUMBERED = (
    sa.select(_E.seal_no, *_CONTENT)
    .where(_E.seal_no > sa.bindparam("head"), _E.hash.is_(None))
    .order_by(_E.seal_no)
    .limit(sa.bindparam("limit"))
)
_SEAL = (
    sa.update(tables.event)
    .where(_E.id == sa.bindparam("event"), _E.hash.is_(None))
    .values(seal_no=sa.bindparam("no"), hash=sa.bindparam("own_hash"))
)
_HEAD = tables.meta.c.key == CHAIN
_encode = json.JSONEncoder(separators=(",", ":"), default=repr).encode
_quoted = json.encoder.encode_basestring_ascii


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends: the last seal number (0: nothing is sealed), and the hash there."""

    seal_no: int = 0
    hash: bytes = b""


def sealed_as(before: bytes, seal_no: int, content: Any) -> bytes:
    """The hash of an event: sha256 of the hash before and of its number and content as JSON without blanks.

    >>> sealed_as(b"", 1, (1, "job", 7, "ready", "running", "carrier", "", 0.5)).hex()[:16]
    '6150ea4b0173972d'
    """
    id_, entity, entity_id, old, new, actor, reason, at = content
    try:  # the same text as below, in a third of the time
        text = (
            f"[{seal_no},{id_:d},{_quoted(entity)},{entity_id:d},{_quoted(old)},{_quoted(new)},{_quoted(actor)},"
            f"{_quoted(reason)},{float.__repr__(at)}]"
        )
    except (TypeError, ValueError):  # whatever a hand has put there has a hash, too
        text = _encode([seal_no, *content])
    return hashlib.sha256(before + text.encode()).digest()


def head_of(connection: sa.Connection, *, to_seal: bool = False) -> Head | None:
    """The head on record; None when there is none. to_seal : nobody else may move it in this transaction."""
    query = sa.select(tables.meta.c.value).where(_HEAD)
    text = connection.execute(query.with_for_update() if to_seal else query).scalar()
    try:
        found = json.loads(text or "")
        return Head(int(found["seal_no"]), bytes.fromhex(found["hash"]))
    except (ValueError, TypeError, KeyError):
        return None


def seal(database: Database, limit: int) -> int:
    """Seal up to `limit` events, in the open transaction or one of its own; returns how many."""
    with database.transaction() as connection:
        head = head_of(connection, to_seal=True) or _last(connection)
        numbered = database.run(_NUMBERED, {"head": head.seal_no, "limit": limit})
        rows: list[tuple[int, Any]] = [(row[0], row[1:]) for row in numbered]
        if not rows:
            # what was numbered behind the head is no reason to end an engine: the chain's check tells of it
            highest: int = connection.execute(sa.select(sa.func.max(_E.seal_no))).scalar() or 0
            rows = list(enumerate(database.run(_NEW, {"limit": limit}), max(head.seal_no, highest) + 1))
        if not rows:
            return 0
        sealed = []
        before = head.hash
        for no, content in rows:
            before = sealed_as(before, no, content)
            sealed.append({"event": content[0], "no": no, "own_hash": before})
        database.run_many(_SEAL, sealed)
        text = json.dumps({"seal_no": rows[-1][0], "hash": before.hex()})
        if not connection.execute(sa.update(tables.meta).where(_HEAD).values(value=text)).rowcount:
            connection.execute(sa.insert(tables.meta), {"key": CHAIN, "value": text})
    return len(rows)


def is_whole(connection: sa.Connection) -> bool:
    """Whether each event that has a number has its hash as well."""
    highest = connection.execute(sa.select(sa.func.max(_E.seal_no))).scalar()
    return (head_of(connection) or _last(connection)).seal_no >= (highest or 0)


def _last(connection: sa.Connection) -> Head:
    """The last event that has a hash, for a store without a head."""
    query = sa.select(_E.seal_no, _E.hash).where(_E.hash.is_not(None)).order_by(_E.seal_no.desc()).limit(1)
    row = connection.execute(query).first()
    return Head(row.seal_no, row.hash) if row else Head()


# ---------------------------------------------------------------------- checking
def walk(connection: sa.Connection, wrong: list[str]) -> Iterator[Any]:
    """All events (seal_no, hash, then the content), the sealed ones in order, then the others.

    What is wrong with the chain is added to `wrong`: each place once, for it goes on from the hash on record.
    """
    head = head_of(connection)
    upto = head.seal_no if head else 0
    before: bytes | None = b""  # None: not known
    no = 0
    query = sa.select(_E.seal_no, _E.hash, *_CONTENT).order_by(_E.seal_no.is_(None), _E.seal_no, _E.id)
    for row in connection.execute(query):
        seal_no, own, *content = row
        if seal_no is not None:
            if seal_no != no + 1:
                wrong.append(f"{_numbers(no + 1, seal_no - 1)} gone from the log")
                before = None
            if own is None and seal_no <= upto:
                wrong.append(f"{_named(row)} has lost its hash")
            elif own is not None and before is not None and own != sealed_as(before, seal_no, content):
                wrong.append(f"{_named(row)} is not what was sealed, or what is before it is not")
            before, no = own, seal_no
        yield row
    wrong += _ends(head, no, before)


def _ends(head: Head | None, no: int, last: bytes | None) -> Iterator[str]:
    if head is None:
        yield "the head of the chain is gone: nobody can say whether events are missing at the end"
    elif head.seal_no > no:
        yield f"{_numbers(no + 1, head.seal_no)} gone from the end of the log"
    elif last is not None and (head.seal_no, head.hash) != (no, last):
        yield f"the head of the chain, at seal number {head.seal_no}, is not the last event, at {no}"


def _numbers(first: int, last: int) -> str:
    return f"seal number {first} is" if first >= last else f"seal numbers {first} to {last} are"


def _named(row: Any) -> str:
    return f"seal number {row.seal_no} (event {row.id}: {row.entity} {row.entity_id} {row.old} -> {row.new})"
