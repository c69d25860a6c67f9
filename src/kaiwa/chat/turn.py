"""One turn: check → open → answer → close.

Refusals come from `check_order`, before anything is written. From `open_message` on, the question
is on disk and the turn ends in `close_message`, whatever happens in between.
"""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from uuid import UUID, uuid5

import anyio
from msgspec import Struct
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_never,
    wait_exponential,
)

from kaiwa.chat.agent import Agent
from kaiwa.chat.ask import Asking, ChooseHistory
from kaiwa.chat.files import pictures_of
from kaiwa.chat.guard import Guard, make_guard
from kaiwa.chat.knowledge import Retrieval, find_retrieval
from kaiwa.chat.order import Context, Ready, Resumed, bring_inputs, check_order
from kaiwa.chat.question import query_with_files, settle_question
from kaiwa.chat.relay import say
from kaiwa.chat.running import Cut, Live
from kaiwa.chat.title import find_title, plain_title
from kaiwa.chat.voice import Voice
from kaiwa.domain.answer import Answer
from kaiwa.domain.events import TurnEnded, TurnFailed
from kaiwa.domain.file import MessageFile
from kaiwa.domain.knowledge import Citation
from kaiwa.domain.message import REFUSED, Closing, Inputs, Message, Opening, Outcome
from kaiwa.domain.prompt import PromptMessage
from kaiwa.domain.request import render
from kaiwa.domain.usage import Usage
from kaiwa.errors import (
    CompletionFailed,
    Interrupted,
    KaiwaError,
    ServiceUnavailable,
    StoreUnavailable,
    TooManyRequests,
)
from kaiwa.ports import Emit, ToolFile
from kaiwa.store.approvals import reopen_message
from kaiwa.store.conversations import retitle_conversation
from kaiwa.store.files import give_file
from kaiwa.store.messages import close_message, open_message

logger = logging.getLogger(__name__)

_DRAIN_PATIENCE_SECONDS = 10


def start_turn(ready: Ready, context: Context, emit: Emit, *, aloud: bool = False) -> Live:
    """Run the turn as a task of its own; it lives on when its client leaves.

    `aloud`: whoever listens can hear it spoken, if its app wants that.

    Raises `ServiceUnavailable` while shutting down and `TooManyRequests` over a limit.
    """
    order = ready.order
    context.running.admit(order.app.id, order.config.max_active_requests)
    live = Live(order.task_id, order.app.id, order.user, ready.conversation_id)
    live.stop_when_left = order.config.leaving == "stop"
    context.running.start(live, lambda: run_turn(ready, live, context, emit, aloud=aloud))
    return live


async def run_turn(
    ready: Ready, live: Live, context: Context, emit: Emit, *, aloud: bool = False
) -> None:
    """Run the whole turn; its end is in `live.message`, or in `live.refusal` if it never began."""
    try:
        ready = await _take_seat(ready, live, context)
        voice = _find_voice(ready, live, context, emit) if aloud else None
        if voice:
            emit = voice.emit
        guard = await _make_guard(ready, live, context, emit)
        answer = Answer(ready.config.reasoning, *(guard.words if guard else (None, "")))
        ready, retrieval = await find_retrieval(ready, context)
        asking = _prepare(ready, answer, live, context, guard.emit if guard else emit)
        choose = asking.choose_history(ready.kit.model)
        spent = Usage()
        if ready.resumed:
            message, spent, history = await _reopen(ready, ready.resumed, context, choose)
            answer.recall(message.answer, message.reasoning)
            asking.recall(spent)
            live.thoughts = live.saved_thoughts = message.thoughts
        else:
            message, history = await open_message(context.db, _opening(ready, context), choose)
    except Exception as error:  # a turn: nothing was written, so there is nothing to keep
        live.refusal = _ours(error)
        live.begun.set()
        await say(emit, [_failed(live.refusal)])
        return
    live.message_id = message.id
    live.answer = answer
    if voice:
        asking.speaks, live.hush = True, voice.hush
        context.running.accompany(live, voice.run)
    live.begun.set()
    agent = _make_agent(asking, ready, message, live, context)
    asked = _Asked(asking, agent, guard, retrieval, ready)
    outcome, failure = await _ask(asked, live, message, history)
    tail = answer.finish()
    if guard:
        await guard.finish(tail)
        tail = []
    closing = Closing(
        message_id=message.id,
        answer=answer.text,
        reasoning=answer.reasoning,
        outcome=outcome,
        error_code=failure.code if failure else REFUSED if guard and guard.refused else None,
        error=failure and failure.message,
        usage=asking.usage,
        now=context.clock(),
        thoughts=live.thoughts,
        citations=_cite(asked, answer, message),
        rounds_before=len(spent.rounds),
    )
    live.usage = asking.usage
    live.failure = failure = await _close(closing, context) or failure
    live.message = _closed(message, closing, failure)
    if ready.new and ready.order.auto_name and not (guard and guard.refused):
        context.running.chore(lambda: _title(ready, context))
    end = _failed(failure) if failure else TurnEnded(live.message, live.usage)
    await say(emit, [*tail, end])


async def _take_seat(ready: Ready, live: Live, context: Context) -> Ready:
    """Wait for the turns before this one, which may change what the conversation keeps."""
    if not live.seated.is_set():
        await _wait_seated(live, context.running.limits.wait)
        if ready.resumed is None:
            ready = await bring_inputs(await check_order(ready.order, context), context)
    if live.cut_by is Cut.SHUTDOWN:
        raise ServiceUnavailable(retry_after=5)
    return ready


def _find_voice(ready: Ready, live: Live, context: Context, emit: Emit) -> Voice | None:
    """None where nothing is spoken, or nobody listens any more."""
    speech, speaker = ready.config.speech, ready.kit.speaker
    if speech is None or not speech.auto_play or speaker is None or not live.listens:
        return None
    return Voice(emit, speaker, speech, live.ended, context.speech_patience)


async def _reopen(
    ready: Ready, resumed: Resumed, context: Context, choose: ChooseHistory | None
) -> tuple[Message, Usage, list[PromptMessage] | None]:
    order = ready.order
    return await reopen_message(
        context.db,
        order.app.id,
        order.user,
        resumed.message_id,
        context.owner,
        choose,
        source=order.source,
    )


def _prepare(ready: Ready, answer: Answer, live: Live, context: Context, emit: Emit) -> Asking:
    order = ready.order
    user = _opaque(order.app.id, order.user)
    told: Inputs = {name: taken.text for name, taken in ready.taken.items()}
    asking = Asking(
        ready.config,
        ready.inputs | told,
        query_with_files(ready, order.query),
        pictures_of(ready.files, order.config.files.detail),
        user,
        answer,
        live,
        context.db,
        context.room,
        emit,
    )
    asking.tools = tuple([tool.spec for tool in ready.kit.tools])
    return asking


async def _make_guard(ready: Ready, live: Live, context: Context, emit: Emit) -> Guard | None:
    """None for an app in which all may be said."""
    config = ready.config.moderation
    if config is None:
        return None
    query = ready.order.query
    return await make_guard(config, ready.kit.moderator, live, query, emit, context.checks)


def _make_agent(
    asking: Asking, ready: Ready, message: Message, live: Live, context: Context
) -> Agent | None:
    """None for an app that only talks."""
    if ready.config.agent is None or live.answer is None:
        return None
    order, keeper = ready.order, context.room.keeper

    async def keep(made: ToolFile) -> MessageFile:
        stored = await keeper.keep_made(order.app, order.user, made, order.source)
        file = MessageFile(context.new_id(), stored, "assistant", "tool_file")
        await give_file(context.db, message.id, file, context.clock())
        return file

    return Agent(
        asking,
        ready.config.agent,
        ready.kit.tools,
        live.answer,
        live,
        keep,
        context.clock,
        context.new_id,
        context.tool_limits,
        ready.resumed and ready.resumed.decision,
    )


@lru_cache(1024)
def _opaque(app_id: UUID, user: str) -> str:
    """The end user's name for the provider."""
    return str(uuid5(app_id, user))


async def _wait_seated(live: Live, seconds: float) -> None:
    with live.cuttable(), anyio.move_on_after(seconds):
        await live.seated.wait()
    if live.seated.is_set() or live.cut_by is Cut.SHUTDOWN:
        return
    if live.cut_by:
        raise Interrupted("The question was taken back before its turn came.")
    raise TooManyRequests(
        "The answer before this question took too long. Please try again later.",
        retry_after=max(1, int(seconds)),
    )


def _opening(ready: Ready, context: Context) -> Opening:
    order = ready.order
    names: Inputs = {
        name: ", ".join([one.file.name for one in taken.files])
        for name, taken in ready.taken.items()
    }
    introduction = render(ready.config.opening_statement or "", ready.inputs | names)
    return Opening(
        workspace_id=order.app.workspace_id,
        app_id=order.app.id,
        key_id=order.key_id,
        user_id=context.new_id(),
        user=order.user,
        source=order.source,
        conversation_id=ready.conversation_id,
        new=ready.new,
        name=plain_title(order.query),
        introduction=introduction,
        config_id=ready.config_id,
        conversation_inputs=ready.conversation_inputs,
        message_id=context.new_id(),
        inputs=ready.inputs,
        query=order.query,
        files=ready.files,
        owner=context.owner,
        now=context.clock(),
    )


class _Asked(Struct, frozen=True):
    """An opened question and what has a part in its answer."""

    asking: Asking
    agent: Agent | None
    guard: Guard | None
    retrieval: Retrieval | None
    ready: Ready

    async def ask(self, history: Sequence[PromptMessage] | None) -> None:
        """Raises whatever goes wrong in one of them."""
        ready = self.ready

        async def ask() -> None:
            await (self.agent or self.asking).ask(ready.kit, ready.fallback, history)

        query: str | None = ready.order.query
        if self.guard or ready.config.external_data_tools:
            query = await settle_question(self.asking, ready, self.guard)
        if query is None:
            return
        if self.retrieval and self.agent is None:
            await self.retrieval.tell(self.asking, query, ready.kit.model)
        await (self.guard.over(ask) if self.guard else ask())


async def _ask(
    asked: _Asked, live: Live, message: Message, history: Sequence[PromptMessage] | None
) -> tuple[Outcome, KaiwaError | None]:
    """Ask the model and pass on what it says; how that ended, whatever happened."""
    try:
        await asked.asking.announce(message)
        with live.cuttable():
            if live.cut_by is None:
                await asked.ask(history)
                return Outcome.NORMAL, None
    except Exception as error:  # a turn: what was said until here is kept
        if live.cut_by is None:
            return Outcome.ERROR, _ours(error)
        # Whatever was cut may complain in its own way; the cut is the reason.
        logger.debug("a turn that was cut failed", exc_info=error)
    return _cut_short(live.cut_by)


def _cite(asked: _Asked, answer: Answer, message: Message) -> tuple[Citation, ...]:
    """Where the answer comes from; one that moderation has changed comes from nowhere."""
    if asked.retrieval is None or not asked.ready.config.citations_enabled or answer.corrected:
        return ()
    return asked.retrieval.cite(asked.asking.passages, message.citations)


def _cut_short(cut: Cut | None) -> tuple[Outcome, KaiwaError | None]:
    match cut:
        case Cut.FLAGGED:
            return Outcome.NORMAL, None
        case Cut.STOPPED | Cut.LEFT | Cut.TURN_LIMIT:
            return Outcome.STOPPED, None
        case Cut.FIRST_TOKEN:
            return Outcome.ERROR, CompletionFailed("The model did not begin to answer in time.")
        case Cut.BETWEEN_TOKENS:
            return Outcome.ERROR, CompletionFailed("The model fell silent in its answer.")
        case Cut.SHUTDOWN | None:
            return Outcome.INTERRUPTED, Interrupted(
                "The server is shutting down; what was said until now is kept."
            )


def _ours(error: Exception) -> KaiwaError:
    """The error as a client may see it."""
    if isinstance(error, KaiwaError):
        return error
    logger.error("a turn failed", exc_info=error)
    return KaiwaError()


def _failed(error: KaiwaError) -> TurnFailed:
    return TurnFailed(error.code, error.status, error.message)


async def _close(closing: Closing, context: Context) -> KaiwaError | None:
    """Write the end; what was said is worth waiting for a database that is away for a moment.

    Returns why it could not be written. It is then tried on, so that no row stays `running`.
    """

    def too_long(state: RetryCallState) -> bool:
        patience = context.running.limits.close
        if context.running.draining:
            patience = min(patience, _DRAIN_PATIENCE_SECONDS)
        return (state.seconds_since_start or 0) > patience

    try:
        await _write_end(closing, context, too_long)
    except StoreUnavailable as error:
        logger.error("message %s is not closed yet: %s", closing.message_id, error.message)
        context.running.chore(lambda: _write_end(closing, context, stop_never))
        return error
    except Exception as error:  # a turn: its client has to hear an end all the same
        return _ours(error)
    return None


async def _write_end(
    closing: Closing, context: Context, too_long: Callable[[RetryCallState], bool]
) -> None:
    try:  # nearly always; to set up trying again costs more than the write
        return await close_message(context.db, closing)
    except StoreUnavailable as error:
        logger.info("message %s waits to be closed: %s", closing.message_id, error.message)
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_exponential(multiplier=0.1, max=2),
        stop=too_long,
        reraise=True,
    ):
        with attempt:
            await close_message(context.db, closing)


def _closed(message: Message, closing: Closing, failure: KaiwaError | None) -> Message:
    return Message(
        id=message.id,
        conversation_id=message.conversation_id,
        parent_id=message.parent_id,
        position=message.position,
        inputs=message.inputs,
        query=message.query,
        answer=closing.answer,
        reasoning=closing.reasoning,
        outcome=Outcome.ERROR if failure and not closing.error else closing.outcome,
        error_code=failure.code if failure else closing.error_code,
        error=failure and failure.message,
        created_at=message.created_at,
        files=message.files,
        thoughts=closing.thoughts,
        citations=closing.citations,
    )


async def _title(ready: Ready, context: Context) -> None:
    query = ready.order.query
    title = await find_title(query, ready.kit.side_model)
    first = plain_title(query)
    if title and title != first:
        await retitle_conversation(context.db, ready.conversation_id, title, instead_of=first)
