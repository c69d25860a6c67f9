"""Moderation of one turn: what its end user asks, and what is answered.

Words are found in the answer before it is said (`domain/keywords`). A service is asked beside the
stream, which never waits for it but at its end; until then it can only take back what was said.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import anyio
import anyio.to_thread
from msgspec import Struct, field
from msgspec.structs import replace

from kaiwa.chat.relay import say
from kaiwa.chat.running import Cut, Live
from kaiwa.domain import text as texts
from kaiwa.domain.answer import Answer
from kaiwa.domain.app import ModerationConfig, ModerationSide
from kaiwa.domain.events import TurnCanned, TurnEvent, TurnReplaced, TurnText, TurnThought
from kaiwa.domain.keywords import KeywordFilter, Keywords, find_keywords
from kaiwa.domain.message import Inputs, JsonValue
from kaiwa.errors import KaiwaError, ModerationFailed
from kaiwa.ports import Emit, Moderator, Rest, Verdict

logger = logging.getLogger(__name__)

_CHECK_EVERY = 300
"""Characters of an answer, after which a service is asked again."""
_LARGE = 5_000
"""Characters of words; more of them are not made ready on the event loop."""
_CUT_OFF = "the answer was taken back"


class Checks(Struct, frozen=True):
    """How moderation is done in this process, and what it has found since the start."""

    seconds: float = 10
    """How long a service may take for one check."""
    log_texts: bool = False
    flagged: Counter[tuple[UUID, str]] = field(default_factory=Counter[tuple[UUID, str]])
    """How often, by app and by side: `inputs` or `outputs`."""


class Guard:
    """Stands between an end user and a model, and hears all that is said."""

    def __init__(
        self,
        config: ModerationConfig,
        keywords: Keywords | None,
        moderator: Moderator | None,
        live: Live,
        query: str,
        emit: Emit,
        checks: Checks,
    ) -> None:
        """`keywords` where they are what is looked for, else the `moderator` is asked."""
        self.refused = False
        """Whether the question was not let through."""
        self._config = config
        self._keywords = keywords
        self._moderator = moderator
        self._live = live
        self._language: texts.Language = texts.language_of(query)
        self._emit = emit
        self._checks = checks
        self._checked = 0
        """How much of the answer was found to be fine."""
        self._grown = 0
        """Since a check has begun last."""
        self._wanted = asyncio.Event()

    @property
    def _asks_beside(self) -> Moderator | None:
        """Who is asked while the answer is said, if anybody."""
        return self._moderator if self._config.outputs else None

    @property
    def words(self) -> tuple[KeywordFilter | None, str]:
        """What the answer is to find in itself, and what it gives way to then."""
        outputs = self._config.outputs
        if outputs and self._keywords:
            return KeywordFilter(self._keywords), outputs.preset
        return None, ""

    def emit(self, events: Sequence[TurnEvent]) -> Rest | None:
        """Says them, and sees what was said."""
        rest = self._emit(events)
        if self._keywords:
            if isinstance(events[-1], TurnReplaced):
                self._take_note()
        else:
            self._grown += sum([len(one.text) for one in events if isinstance(one, TurnText)])
            if self._grown >= _CHECK_EVERY:
                self._wanted.set()
        return rest

    async def let_through(self, inputs: Inputs, query: str) -> tuple[Inputs, str] | None:
        """What goes on to the model; None when it is not to be asked, and that was said.

        Raises `ModerationFailed` when nobody can tell.
        """
        side = self._config.inputs
        if side is None:
            return inputs, query
        verdict = await self._judge_question(inputs, query)
        if not verdict.flagged:
            return inputs, query
        self._count("inputs", f"{query!r} with {inputs!r}")
        if verdict.query is not None:
            return inputs | verdict.inputs, verdict.query
        await self._refuse(verdict.preset or side.preset or texts.say("refused", self._language))
        return None

    async def over(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Do it while a service is asked about what is said. Raises what it raises."""
        if not self._asks_beside:
            return await ask()
        failure: KaiwaError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, self._asks_beside)
            try:
                await ask()
            except KaiwaError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure:
            raise failure

    async def finish(self, tail: Sequence[TurnEvent]) -> None:
        """Say the rest of the answer, and have the whole of it checked."""
        answer = self._answer
        if tail:
            await say(self.emit, tail)
        if self._asks_beside and not answer.taken_back and len(answer.text) > self._checked:
            await self._check(self._asks_beside)
        if answer.taken_back:
            self._cut_calls_off()

    @property
    def _answer(self) -> Answer:
        assert self._live.answer
        return self._live.answer

    async def _judge_question(self, inputs: Inputs, query: str) -> Verdict:
        if self._keywords:
            found = map(self._keywords.found_in, [query, *_texts_in(inputs)])
            return Verdict(flagged=any(found))
        moderator = self._moderator
        assert moderator
        app_id = self._live.app_id
        return await self._judge(lambda: moderator.check_input(app_id, inputs, query))

    async def _judge(self, ask: Callable[[], Awaitable[Verdict]]) -> Verdict:
        """Raises `ModerationFailed`, unless the app takes what cannot be checked."""
        try:
            try:
                with anyio.fail_after(self._checks.seconds):
                    return await ask()
            except TimeoutError as error:
                logger.warning("a moderation service took longer than %g s", self._checks.seconds)
                raise ModerationFailed from error
            except KaiwaError:
                raise
            except Exception as error:  # a check: the answer has to be kept whatever it does
                logger.exception("a moderation service broke")
                raise ModerationFailed from error
        except ModerationFailed:
            if self._config.when_down == "open":
                logger.warning("message %s goes on unchecked", self._live.message_id)
                return Verdict()
            raise

    async def _refuse(self, instead: str) -> None:
        self.refused = True
        said_before = self._answer.text  # in a message that is taken up again
        replaced = self._answer.take_back(instead)
        await say(self._emit, [replaced if said_before else TurnCanned(instead)])

    async def _watch(self, moderator: Moderator) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._grown = 0
            await self._check(moderator)

    async def _check(self, moderator: Moderator) -> None:
        """Have all asked that was said until now, and act on it."""
        side, text = self._config.outputs, self._answer.text
        assert side
        try:
            verdict = await self._judge(lambda: moderator.check_output(self._live.app_id, text))
        except ModerationFailed:
            return self._take_back(side, "")
        self._checked = len(text)
        if not verdict.flagged:
            return
        self._count("outputs", repr(text))
        if verdict.text is None:
            return self._take_back(side, verdict.preset)
        self._checked = len(verdict.text)
        if verdict.text != text:
            self._replace(self._answer.correct(len(text), verdict.text))

    def _take_back(self, side: ModerationSide, preset: str) -> None:
        preset = preset or side.preset or texts.say("taken_back", self._language)
        self._replace(self._answer.take_back(preset))
        self._live.cut(Cut.FLAGGED)

    def _take_note(self) -> None:
        """The answer has found a word in itself."""
        self._count("outputs", repr(self._answer.round_said))
        self._replace(None)
        self._live.cut(Cut.FLAGGED)

    def _replace(self, replaced: TurnReplaced | None) -> None:
        """Say it; what thoughts have shown of the answer is gone too.

        Nobody waits for it to be written: it goes out at the latest with what is said next.
        """
        before, live = self._live.thoughts, self._live
        live.thoughts = tuple([replace(one, text="") if one.text else one for one in before])
        events: list[TurnEvent] = [replaced] if replaced else []
        events += [
            TurnThought(now)
            for now, then in zip(live.thoughts, before, strict=True)
            if now is not then
        ]
        if events:
            self._emit(events)

    def _cut_calls_off(self) -> None:
        """So that none of them seems to wait for its end user's yes."""
        thoughts = self._live.thoughts
        self._live.thoughts = tuple([
            replace(
                one,
                calls=tuple([
                    replace(call, observation=_CUT_OFF) if call.observation is None else call
                    for call in one.calls
                ]),
            )
            if one.waits
            else one
            for one in thoughts
        ])  # fmt: skip
        told = zip(self._live.thoughts, thoughts, strict=True)
        if events := [TurnThought(now) for now, then in told if now is not then]:
            self._emit(events)

    def _count(self, side: str, text: str) -> None:
        key = (self._live.app_id, side)
        self._checks.flagged[key] += 1
        logger.info(
            "moderation (%s) has flagged the %s of message %s in app %s, %d since the start%s",
            self._config.kind,
            side,
            self._live.message_id,
            self._live.app_id,
            self._checks.flagged[key],
            f": {text}" if self._checks.log_texts else "",
        )


async def make_guard(
    config: ModerationConfig,
    moderator: Moderator | None,
    live: Live,
    query: str,
    emit: Emit,
    checks: Checks,
) -> Guard:
    """Its words are made ready when they are first needed, many of them beside the event loop."""
    keywords = None
    if config.kind == "keywords":
        if sum(map(len, config.keywords)) > _LARGE:
            keywords = await anyio.to_thread.run_sync(find_keywords, config.keywords)
        else:
            keywords = find_keywords(config.keywords)
    return Guard(config, keywords, moderator, live, query, emit, checks)


def _texts_in(value: JsonValue) -> list[str]:
    """All texts in it, however deep; numbers are none."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts_in(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts_in(one)]
    return []
