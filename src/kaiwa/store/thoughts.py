"""What agents thought: kept while they go on, and found again with their messages."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from kaiwa.domain.thought import Called, Labels, Thought
from kaiwa.store.columns import ID
from kaiwa.store.prepared import Prepared
from kaiwa.store.tables import IS_RUNNING, messages, thoughts

_THIS = bindparam("this", type_=ID)
_COUNT = (
    update(messages)
    .where(messages.c.id == _THIS)
    .values(thought_count=bindparam("count"))
    .returning(messages.c.workspace_id)
)
_COUNT_ANY = Prepared(_COUNT)
_COUNT_RUNNING = Prepared(_COUNT.where(IS_RUNNING))
_DROP = Prepared(delete(thoughts).where(thoughts.c.message_id == _THIS))
_ADD = Prepared(insert(thoughts))


def keep_thoughts(
    conn: Connection, message_id: UUID, found: Sequence[Thought], *, running: bool
) -> None:
    """Inside a unit: the message has these, and no others.

    Nothing happens when the message is gone, or, with `running`, has ended.
    """
    count = _COUNT_RUNNING if running else _COUNT_ANY
    workspace_id = count.value(conn, {"this": message_id, "count": len(found)})
    if workspace_id is None:
        return
    _DROP.run(conn, {"this": message_id})
    whose = {"message_id": message_id, "workspace_id": workspace_id}
    _ADD.run_all(conn, [whose | _row(thought) for thought in found])


def _row(thought: Thought) -> dict[str, Any]:
    return {
        "position": thought.position,
        "id": thought.id,
        "created_at": thought.created_at,
        "text": thought.text,
        "calls": _encode(thought.calls),
        "labels": _encode(thought.labels),
        "files": _encode(thought.files),
    }


_BETWEEN = Prepared(
    select(
        messages.c.position.label("of_message"),
        thoughts.c.id,
        thoughts.c.position,
        thoughts.c.created_at,
        thoughts.c.text,
        thoughts.c.calls,
        thoughts.c.labels,
        thoughts.c.files,
    )
    .join_from(messages, thoughts, thoughts.c.message_id == messages.c.id)
    .where(
        messages.c.conversation_id == _THIS,
        messages.c.position.between(bindparam("first"), bindparam("last")),
        messages.c.thought_count > 0,
    )
    .order_by(messages.c.position, thoughts.c.position)
)


def thoughts_between(
    conn: Connection, conversation_id: UUID, first: int, last: int
) -> dict[int, tuple[Thought, ...]]:
    """Inside a unit: those of the messages from one position to another, by position."""
    rows = _BETWEEN.rows(conn, {"this": conversation_id, "first": first, "last": last})
    return {
        position: tuple(
            Thought(
                id,
                number,
                created_at,
                text,
                _decode_calls(calls),
                _decode_labels(labels),
                _decode_files(files),
            )
            for _, id, number, created_at, text, calls, labels, files in group
        )
        for position, group in groupby(rows, lambda row: row[0])
    }


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


_decode_calls = msgspec.json.Decoder(tuple[Called, ...]).decode
_decode_labels = msgspec.json.Decoder(Labels).decode
_decode_files = msgspec.json.Decoder(tuple[UUID, ...]).decode
