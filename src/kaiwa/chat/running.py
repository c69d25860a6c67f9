"""The turns that are alive in this process: who runs, who waits, who listens, who is stopped.

A turn is a task of this room's task group, never of a request: a server that cancels its requests
cannot take an answer with it, and one turn that breaks harms no other. Two chores look after them
all: one checks their time limits, one saves how far their answers have come.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum
from time import monotonic
from types import TracebackType
from uuid import UUID

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from kaiwa.chat.once import Once
from kaiwa.domain.answer import Answer
from kaiwa.domain.message import Draft, Message
from kaiwa.domain.thought import Thought
from kaiwa.domain.usage import Usage
from kaiwa.errors import KaiwaError, ServiceUnavailable, StoreUnavailable, TooManyRequests

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 0.5


class Cut(Enum):
    """Why a turn was cut short."""

    STOPPED = "the end user stopped it"
    LEFT = "nobody listens any more"
    TURN_LIMIT = "the turn took too long"
    FIRST_TOKEN = "the model did not begin to answer"
    BETWEEN_TOKENS = "the model fell silent"
    FLAGGED = "the answer must not be shown"
    SHUTDOWN = "the server is shutting down"


_SPOKEN_ON = (Cut.FIRST_TOKEN, Cut.BETWEEN_TOKENS, Cut.FLAGGED)
"""After which what was said, or is said instead, may still be spoken."""


class TurnLimits(Struct, frozen=True):
    """Bounds of a turn; times in seconds."""

    first_token: float = 180
    between_tokens: float = 60
    turn: float = 1200
    alive: int = 0
    """How many turns may be alive, those that wait among them; 0 is no limit."""
    waiting: int = 8
    """How many questions may wait for their turn in one conversation."""
    wait: float = 60
    close: float = 60
    """How long a database that cannot be written keeps the end of a turn waiting."""
    checkpoint: float = 0.4
    beat: float = 5


class Live:
    """One turn while it lives."""

    def __init__(self, task_id: str, app_id: UUID, user: str, conversation_id: UUID) -> None:
        self.task_id = task_id
        self.app_id = app_id
        self.user = user
        self.conversation_id = conversation_id
        self.listens = True
        """Whether the client that asked is still there."""
        self.stop_when_left = False
        self.cut_by: Cut | None = None
        self.seated = Once()
        """Set once no earlier turn of the conversation is running."""
        self.begun = Once()
        """Set once the question is on disk, or the turn was refused."""
        self.ended = Once()
        """Set once the answer is on disk, or the turn was refused."""
        self.refusal: KaiwaError | None = None
        self.failure: KaiwaError | None = None
        """Why the answer is not whole; set before `ended`."""
        self.message: Message | None = None
        self.usage = Usage()
        self.started_at = monotonic()
        self.asked_at: float | None = None
        """When the model was asked; None while it is not."""
        self.heard = 0
        """How often the model was heard since then."""
        self.speaking = False
        """Whether its words are on their way out: a slow client does not make it silent."""
        self.hush: Callable[[], None] | None = None
        """Ends its voice at once; None for a turn that does not speak."""
        self.answer: Answer | None = None
        self.message_id: UUID | None = None
        self.saved_length = 0
        self.thoughts: tuple[Thought, ...] = ()
        """An agent's, as they stand; a new tuple with each change."""
        self.saved_thoughts: tuple[Thought, ...] = self.thoughts
        self._heard_before = 0
        self._silent_since = 0.0
        self._scope: anyio.CancelScope | None = None

    def cut(self, reason: Cut) -> None:
        """End the turn early; what was said is kept. The first reason stands.

        A turn that has ended may still speak; that ends too.
        """
        if self.hush and reason not in _SPOKEN_ON:
            self.hush()
        if self.cut_by is None:
            self.cut_by = reason
            if self._scope:
                self._scope.cancel()

    def cuttable(self) -> anyio.CancelScope:
        """A scope that `cut` cancels; used for everything but writing to the database."""
        self._scope = anyio.CancelScope()
        if self.cut_by:
            self._scope.cancel()
        return self._scope

    def ask_model(self) -> float:
        """The model is asked now; its silence counts from here on. Returns the time."""
        self.asked_at = monotonic()
        self.heard = self._heard_before = 0
        self.speaking = False
        return self.asked_at

    def check_time(self, now: float, limits: TurnLimits) -> None:
        """Cut the turn when it is over one of its limits; called again and again."""
        if now - self.started_at > limits.turn:
            self.cut(Cut.TURN_LIMIT)
        elif self.asked_at is None:
            return
        elif self.speaking or self.heard != self._heard_before:
            self._heard_before = self.heard
            self._silent_since = now
        elif not self.heard:
            if now - self.asked_at > limits.first_token:
                self.cut(Cut.FIRST_TOKEN)
        elif now - self._silent_since > limits.between_tokens:
            self.cut(Cut.BETWEEN_TOKENS)

    def draft(self) -> tuple[Draft, int] | None:
        """The answer as it stands, and its length, when it has changed since it was last saved."""
        if self.answer is None or self.message_id is None:
            return None
        length = self.answer.length
        thoughts = () if self.thoughts is self.saved_thoughts else self.thoughts
        if length == self.saved_length and not thoughts:
            return None
        return Draft(self.message_id, self.answer.text, self.answer.reasoning, thoughts), length


class Running:
    """All live turns of this process."""

    def __init__(
        self,
        limits: TurnLimits,
        save: Callable[[Sequence[Draft]], Awaitable[None]],
        beat: Callable[[Sequence[UUID]], Awaitable[None]],
    ) -> None:
        """`save` keeps grown answers; `beat` says that these messages are still worked on."""
        self.limits = limits
        self.draining = False
        self._save = save
        self._beat = beat
        self._live: dict[str, Live] = {}
        self._voices: dict[str, Live] = {}
        """Turns that are spoken; they may have ended."""
        self._queues: dict[UUID, deque[Live]] = {}
        # asyncio's own: no scope from outside reaches its tasks, and each costs less to start.
        self._turns = asyncio.TaskGroup()
        self._chores: TaskGroup = anyio.create_task_group()
        self._idle = asyncio.Event()
        """Set while no turn is alive or spoken."""
        self._idle.set()

    async def __aenter__(self) -> "Running":
        await self._chores.__aenter__()
        await self._turns.__aenter__()
        self._chores.start_soon(self._watch)
        self._chores.start_soon(self._keep)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut what still runs, wait until it is kept, then end the chores."""
        self.draining = True
        self.cut_all(Cut.SHUTDOWN)
        try:
            with anyio.CancelScope(shield=True):
                await self._empty()
        finally:
            try:
                await self._turns.__aexit__(None, None, None)
            finally:
                self._chores.cancel_scope.cancel()
                await self._chores.__aexit__(None, None, None)

    def __len__(self) -> int:
        return len(self._live)

    def message_ids(self) -> list[UUID]:
        """Of the turns whose question is on disk; no other message has anyone who works on it."""
        return [live.message_id for live in self._live.values() if live.message_id]

    def admit(self, app_id: UUID, limit: int) -> None:
        """Check that one more turn of the app may start; 0 is no limit.

        Raises `ServiceUnavailable` while shutting down, `TooManyRequests` over this limit or the
        process's own.
        """
        if self.draining:
            raise ServiceUnavailable(retry_after=5)
        if self.limits.alive and len(self._live) >= self.limits.alive:
            raise TooManyRequests(
                "The server is answering as many questions as it can. Please try again later.",
                retry_after=5,
            )
        if limit and sum(live.app_id == app_id for live in self._live.values()) >= limit:
            raise TooManyRequests(
                "Too many requests. Please try again later. The current maximum concurrent "
                f"requests allowed is {limit}.",
                retry_after=1,
            )

    def start(self, live: Live, turn: Callable[[], Awaitable[None]]) -> None:
        """Queue the turn behind the others of its conversation and run it as a task of ours.

        Raises `TooManyRequests` when too many wait there already.
        """
        queue = self._queues.setdefault(live.conversation_id, deque())
        if len(queue) > self.limits.waiting:
            raise TooManyRequests(
                "Too many questions wait for an answer in this conversation.", retry_after=5
            )
        queue.append(live)
        if self._idle.is_set():
            self._idle = asyncio.Event()
        self._live[live.task_id] = live
        if len(queue) == 1:
            live.seated.set()
        else:
            self._hurry(queue)
        self._turns.create_task(self._run(live, turn))

    def accompany(self, live: Live, speak: Callable[[], Awaitable[None]]) -> None:
        """Run the voice of a live turn, which may outlast it; `live.hush` ends it at once."""
        self._voices[live.task_id] = live
        self._turns.create_task(self._accompany(live, speak))

    def chore(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run work that no client waits for; it is dropped at shutdown."""
        if not self.draining:
            self._chores.start_soon(_quietly, work)

    def stop(self, task_id: str, app_id: UUID, user: str) -> None:
        """Stop that turn if it is this user's; else nothing happens."""
        live = self._live.get(task_id) or self._voices.get(task_id)
        if live and live.app_id == app_id and live.user == user:
            live.cut(Cut.STOPPED)

    def leave(self, live: Live) -> None:
        """The client that asked has gone."""
        live.listens = False
        if live.hush:
            live.hush()
        if live.stop_when_left:
            live.cut(Cut.LEFT)
        queue = self._queues.get(live.conversation_id)
        if queue:
            self._hurry(queue)

    def cut_all(self, reason: Cut) -> None:
        """Cut every live turn, and every voice."""
        for live in self._all():
            live.cut(reason)

    async def drain(self, seconds: float) -> None:
        """Refuse new turns, give the live ones and their voices so long to finish, then cut them.

        Returns when every turn has ended and is kept.
        """
        self.draining = True
        with anyio.move_on_after(seconds):
            await self._empty()
        self.cut_all(Cut.SHUTDOWN)
        await self._empty()

    async def _empty(self) -> None:
        while self._live or self._voices:
            await self._idle.wait()

    def _all(self) -> list[Live]:
        return [*self._live.values(), *self._voices.values()]

    def _hurry(self, queue: Iterable[Live]) -> None:
        """When others wait, a turn that nobody listens to any more gives way."""
        first, *others = queue
        if others and not first.listens:
            first.cut(Cut.LEFT)

    async def _run(self, live: Live, turn: Callable[[], Awaitable[None]]) -> None:
        try:
            await turn()
        except Exception:  # a turn: it must not take the others with it
            logger.exception("a turn broke")
            live.failure = live.failure or KaiwaError()
            if live.hush:
                live.hush()
        finally:
            live.begun.set()
            live.ended.set()
            self._remove(live)

    def _remove(self, live: Live) -> None:
        del self._live[live.task_id]
        queue = self._queues[live.conversation_id]
        queue.remove(live)
        if not queue:
            del self._queues[live.conversation_id]
        else:
            queue[0].seated.set()
            self._hurry(queue)
        self._rest()

    async def _accompany(self, live: Live, speak: Callable[[], Awaitable[None]]) -> None:
        try:
            await _quietly(speak)
        finally:
            del self._voices[live.task_id]
            self._rest()

    def _rest(self) -> None:
        if not (self._live or self._voices):
            self._idle.set()

    async def _watch(self) -> None:
        """Waits for nothing else, so that a slow database does not lengthen the limits."""
        while True:
            await anyio.sleep(min(self.limits.checkpoint, _WATCH_SECONDS))
            now = monotonic()
            for live in self._all():
                live.check_time(now, self.limits)

    async def _keep(self) -> None:
        beat_at = now = monotonic()
        while True:
            # From start to start: the time a write takes does not lengthen what a crash costs.
            await anyio.sleep(max(0.0, now + self.limits.checkpoint - monotonic()))
            now = monotonic()
            await _quietly(self._checkpoint)
            if now - beat_at >= self.limits.beat and (ids := self.message_ids()):
                beat_at = now
                await _quietly(lambda ids=ids: self._beat(ids))

    async def _checkpoint(self) -> None:
        grown = [(live, found) for live in self._live.values() if (found := live.draft())]
        if grown:
            await self._save([draft for _, (draft, _) in grown])
            for live, (draft, length) in grown:
                live.saved_length = length
                live.saved_thoughts = draft.thoughts or live.saved_thoughts


async def _quietly(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except StoreUnavailable as error:
        logger.warning("background work has to wait: %s", error.message)
    except Exception:  # a job: its failure is logged and must not end the others
        logger.exception("background work failed")
