"""Messages that wait for their end user's yes: opened once more, to go on."""

from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, bindparam, null, select, update

from kaiwa.domain.message import Message, Outcome
from kaiwa.domain.usage import Price, Round, Usage
from kaiwa.errors import InvalidParam, NotFound
from kaiwa.store.columns import ID, OUTCOME, database_time
from kaiwa.store.db import Database
from kaiwa.store.messages import Choose, choose_history, find_theirs, is_last
from kaiwa.store.rows import scope_of
from kaiwa.store.tables import messages, rounds

T = TypeVar("T")

NOTHING_WAITS = "Nothing in this message waits for an approval."
GONE_ON = "The conversation has gone on since; the call can no longer be approved."

_THIS = bindparam("this", type_=ID)
_REOPEN = (
    update(messages)
    .where(messages.c.id == _THIS, messages.c.outcome == bindparam("ended", type_=OUTCOME))
    .values(
        outcome=bindparam("running", type_=OUTCOME),
        owner=bindparam("by", type_=ID),
        heartbeat_at=database_time(),
        finished_at=null(),
    )
)
_ROUNDS = (
    select(
        rounds.c.provider,
        rounds.c.model,
        rounds.c.prompt_tokens,
        rounds.c.completion_tokens,
        rounds.c.prompt_unit_price,
        rounds.c.completion_unit_price,
        rounds.c.price_unit,
        rounds.c.currency,
        rounds.c.estimated,
        rounds.c.latency,
    )
    .where(rounds.c.message_id == _THIS)
    .order_by(rounds.c.position)
)


async def reopen_message(
    db: Database,
    app_id: UUID,
    user: str,
    message_id: UUID,
    owner: UUID,
    choose: Choose[T] | None,
    *,
    source: str = "api",
) -> tuple[Message, Usage, T | None]:
    """The message as it stood, what it has cost, and the history before it as `choose` has it.

    From now on it is running again. Raises `NotFound`, and `InvalidParam` when nothing in it waits
    (any more) or it is not the last of its conversation. Of several at once, one succeeds.
    """
    bound = scope_of(app_id, user, source) | {"this": message_id}

    def unit(conn: Connection) -> tuple[Message, Usage, T | None]:
        message = find_theirs(conn, bound)
        if message is None:
            raise NotFound("Message Not Exists.")
        if not message.waits:
            raise InvalidParam(NOTHING_WAITS)
        if not is_last(conn, message):
            raise InvalidParam(GONE_ON)
        states = {"ended": Outcome.NORMAL, "running": Outcome.RUNNING}
        if not conn.execute(_REOPEN, {"this": message_id, "by": owner, **states}).rowcount:
            raise InvalidParam(NOTHING_WAITS)
        spent = Usage(tuple([_round(*row) for row in conn.execute(_ROUNDS, {"this": message_id})]))
        if choose is None:
            return message, spent, None
        return message, spent, choose_history(conn, message.conversation_id, choose)

    return await db.write(unit)


def _round(
    provider: str,
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    *price_and_more: object,
) -> Round:
    *price, estimated, latency = price_and_more
    return Round(
        provider,
        model,
        prompt_tokens,
        completion_tokens,
        None if price[0] is None else Price(*price),  # pyright: ignore[reportArgumentType]
        bool(estimated),
        float(latency),  # pyright: ignore[reportArgumentType]
    )
