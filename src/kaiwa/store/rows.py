"""What rows become and are made of, and whose rows a query may see.

Columns are chosen by the fields of the value they fill, so `Value(*row)` cannot mix them up.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Connection, Table, and_, bindparam, insert, select
from sqlalchemy.sql import ColumnElement

from kaiwa.domain.file import MessageFile
from kaiwa.domain.message import Message, Opening
from kaiwa.domain.usage import Round
from kaiwa.store.columns import ID
from kaiwa.store.prepared import Prepared
from kaiwa.store.tables import conversations, end_users


def columns_of(value: type[Struct], table: Table) -> list[ColumnElement[Any]]:
    """The columns of `table` for the fields of `value`, in their order, where it has them."""
    return [table.c[name] for name in value.__struct_fields__ if name in table.c]


# Names of bound values must not be names of columns: in an UPDATE those would be set.
IN_APP = bindparam("in_app", type_=ID)
OF_USER = (
    select(end_users.c.id)
    .where(
        end_users.c.app_id == IN_APP,
        end_users.c.source == bindparam("of_source"),
        end_users.c.name == bindparam("of_user"),
    )
    .scalar_subquery()
)
"""The end user's id; as a value, not a join, it lets an index give the order of a page."""

THEIR_LIVE = and_(
    conversations.c.app_id == IN_APP,
    conversations.c.user_id == OF_USER,
    conversations.c.deleted_at.is_(None),
)
"""Conversations of the end user of `scope_of` that are not deleted."""


def scope_of(app_id: UUID, user: str, source: str) -> dict[str, Any]:
    """The bound values of `OF_USER` and `THEIR_LIVE`."""
    return {"in_app": app_id, "of_user": user, "of_source": source}


_USER = Prepared(select(OF_USER.label("id")))
_ADD_USER = Prepared(insert(end_users))


def ensure_user(
    conn: Connection,
    workspace_id: UUID,
    app_id: UUID,
    user: str,
    source: str,
    fresh_id: UUID,
    now: datetime,
) -> UUID:
    """Inside a unit: the end user's id; when there is none yet, `fresh_id`, made now."""
    found = _USER.value(conn, scope_of(app_id, user, source))
    if found:
        return found
    row = {
        "id": fresh_id,
        "workspace_id": workspace_id,
        "app_id": app_id,
        "source": source,
        "name": user,
        "created_at": now,
    }
    _ADD_USER.run(conn, row)
    return fresh_id


def conversation_row(opening: Opening, user_id: UUID) -> dict[str, Any]:
    """A new conversation's."""
    return {
        "id": opening.conversation_id,
        "workspace_id": opening.workspace_id,
        "app_id": opening.app_id,
        "user_id": user_id,
        "config_id": opening.config_id,
        "name": opening.name,
        "inputs": opening.conversation_inputs,
        "introduction": opening.introduction,
        "pinned": False,
        "created_at": opening.now,
        "updated_at": opening.now,
    }


def message_row(message: Message, opening: Opening, user_id: UUID) -> dict[str, Any]:
    """A new message's; `message` says what `opening` could not know."""
    row = asdict(message)
    del row["rating"], row["files"], row["thoughts"], row["citations"]
    return row | {
        "file_count": len(message.files),
        "workspace_id": opening.workspace_id,
        "app_id": opening.app_id,
        "user_id": user_id,
        "config_id": opening.config_id,
        "key_id": opening.key_id,
        "owner": opening.owner,
    }


def message_file_row(
    file: MessageFile, position: int, workspace_id: UUID, message_id: UUID
) -> dict[str, Any]:
    """A file's place in a message, counted from 1."""
    return {
        "id": file.id,
        "workspace_id": workspace_id,
        "message_id": message_id,
        "file_id": file.file.id,
        "position": position,
        "belongs_to": file.belongs_to,
        "method": file.method,
        "url": file.url,
    }


def round_row(spent: Round) -> dict[str, Any]:
    """What one call of a model took and cost; prices as they were then."""
    price = spent.price
    return {
        "provider": spent.provider,
        "model": spent.model,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "prompt_unit_price": price and price.prompt,
        "completion_unit_price": price and price.completion,
        "price_unit": price and price.unit,
        "prompt_price": spent.prompt_price,
        "completion_price": spent.completion_price,
        "currency": price and price.currency,
        "estimated": spent.estimated,
        "latency": spent.latency,
    }
