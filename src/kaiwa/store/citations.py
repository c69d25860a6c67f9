"""What answers were told and from where: kept with them, as it was then."""

from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from kaiwa.domain.knowledge import Citation
from kaiwa.store.columns import ID
from kaiwa.store.prepared import Prepared
from kaiwa.store.search import count_hits
from kaiwa.store.tables import citations, messages

_THIS = bindparam("this", type_=ID)
_COUNT = Prepared(
    update(messages)
    .where(messages.c.id == _THIS)
    .values(citation_count=bindparam("count"))
    .returning(messages.c.workspace_id)
)
_DROP = Prepared(delete(citations).where(citations.c.message_id == _THIS))
_ADD = Prepared(insert(citations))


def keep_citations(conn: Connection, message_id: UUID, found: Sequence[Citation]) -> None:
    """Inside a unit: the message has these, and no others."""
    workspace_id = _COUNT.value(conn, {"this": message_id, "count": len(found)})
    if workspace_id is None:
        return
    _DROP.run(conn, {"this": message_id})
    whose = {"message_id": message_id, "workspace_id": workspace_id}
    _ADD.run_all(
        conn,
        [
            whose
            | {
                "position": citation.position,
                "id": citation.id,
                "created_at": citation.created_at,
                "passage": msgspec.json.encode(citation).decode(),
            }
            for citation in found
        ],
    )
    count_hits(conn, [citation.segment_id for citation in found])


_BETWEEN = Prepared(
    select(messages.c.position.label("of_message"), citations.c.passage)
    .join_from(messages, citations, citations.c.message_id == messages.c.id)
    .where(
        messages.c.conversation_id == _THIS,
        messages.c.position.between(bindparam("first"), bindparam("last")),
        messages.c.citation_count > 0,
    )
    .order_by(messages.c.position, citations.c.position)
)


def citations_between(
    conn: Connection, conversation_id: UUID, first: int, last: int
) -> dict[int, tuple[Citation, ...]]:
    """Inside a unit: those of the messages from one position to another, by position."""
    rows = _BETWEEN.rows(conn, {"this": conversation_id, "first": first, "last": last})
    return {
        position: tuple([_decode(passage) for _, passage in group])
        for position, group in groupby(rows, lambda row: row[0])
    }


_decode = msgspec.json.Decoder(Citation).decode
