"""An order: what a client asks for, and whether anything speaks against it.

Nothing is written here; refusals keep their status.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kaiwa.chat.agent import ToolLimits
from kaiwa.chat.ask import Fallback
from kaiwa.chat.files import FileRoom, Taken, take_files, take_inputs, tell_again
from kaiwa.chat.guard import Checks
from kaiwa.chat.running import Running
from kaiwa.domain.app import App, AppConfig, effective
from kaiwa.domain.file import GivenFile, MessageFile
from kaiwa.domain.file_objects import keep_file
from kaiwa.domain.inputs import follow_up_inputs, new_inputs
from kaiwa.domain.message import Conversation, Inputs, Message
from kaiwa.domain.thought import Decision
from kaiwa.errors import InvalidParam, KaiwaError, ModelNotSupported, ProviderNotInitialized
from kaiwa.knowledge.search import SearchMeans
from kaiwa.ports import Clock, Kit, NewId
from kaiwa.store.approvals import NOTHING_WAITS
from kaiwa.store.apps import get_config
from kaiwa.store.conversations import get_conversation
from kaiwa.store.db import Database


class Context(Struct, frozen=True):
    """What the turns of one process share."""

    db: Database
    clock: Clock
    new_id: NewId
    owner: UUID
    """This process, in the rows of the turns it runs."""
    running: Running
    kit_for: Callable[[AppConfig], Awaitable[Kit]]
    """Raises `ProviderNotInitialized` or `ModelNotSupported`."""
    room: FileRoom
    tool_limits: ToolLimits = ToolLimits()
    speech_patience: float = 5
    """Seconds for which a voice may be silent while something is still to be spoken."""
    checks: Checks = msgspec.field(default_factory=Checks)
    knowledge: SearchMeans | None = None
    """None where no app has any."""


class Order(Struct, frozen=True):
    """What a client asks for."""

    app: App
    config: AppConfig
    """The app's current configuration."""
    key_id: UUID | None
    user: str
    source: str
    query: str
    inputs: Inputs
    conversation_id: UUID | None
    auto_name: bool
    task_id: str
    taken: Taken = Taken()
    """The files that came with the question."""


class Resumed(Struct, frozen=True):
    """A message that waits for its end user, who has decided now."""

    message_id: UUID
    decision: Decision


class Ready(Struct, frozen=True):
    """An order that nothing speaks against; nothing is written yet."""

    order: Order
    config: AppConfig
    """The one this turn runs with: the conversation's, with the app's current switches."""
    config_id: UUID
    kit: Kit
    fallback: Fallback | None
    conversation_id: UUID
    new: bool
    """Whether the conversation begins with this turn."""
    conversation_inputs: Inputs
    inputs: Inputs
    taken: Mapping[str, Taken] = {}
    """The files in the inputs, by variable."""
    resumed: Resumed | None = None
    """None for a new question."""

    @property
    def files(self) -> tuple[MessageFile, ...]:
        """Those of the question, and then those in its inputs."""
        taken = self.order.taken.files
        for one in self.taken.values():
            taken += one.files
        return taken


async def check_order(
    order: Order, context: Context, conversation: Conversation | None = None
) -> Ready:
    """Raises whatever the client is to be refused with.

    `conversation` is the order's, where it has been read just now.
    """
    if not order.query:
        raise InvalidParam("query is required")
    if order.conversation_id is None:
        kit = await context.kit_for(order.config)
        inputs = new_inputs(order.config.form, order.inputs)
        return Ready(
            order=order,
            config=order.config,
            config_id=order.app.config_id,
            kit=kit,
            fallback=None,
            conversation_id=context.new_id(),
            new=True,
            conversation_inputs=inputs,
            inputs=inputs,
        )
    conversation = conversation or await get_conversation(
        context.db, order.app.id, order.user, order.conversation_id, source=order.source
    )
    pinned = order.config
    if conversation.config_id != order.app.config_id:
        pinned = await get_config(context.db, order.app.id, conversation.config_id)
    config, kit, fallback = await _with_kit(effective(pinned, order.config), order.config, context)
    inputs, kept = follow_up_inputs(config.form, order.inputs, conversation.inputs)
    return Ready(
        order=order,
        config=config,
        config_id=conversation.config_id,
        kit=kit,
        fallback=fallback,
        conversation_id=conversation.id,
        new=False,
        conversation_inputs=kept,
        inputs=inputs,
    )


async def check_approval(
    order: Order, message: Message, decision: Decision, context: Context
) -> Ready:
    """The order of a message that waits, to go on. Raises as `check_order`, and `InvalidParam`."""
    if not message.waits:
        raise InvalidParam(NOTHING_WAITS)
    ready = await check_order(order, context)
    text = await tell_again(message.files, context.room)
    ready = replace(
        ready,
        order=replace(order, taken=Taken(text=text)),
        inputs=message.inputs,
        resumed=Resumed(message.id, decision),
    )
    return await bring_inputs(ready, context)


async def bring_files(ready: Ready, given: Sequence[GivenFile], context: Context) -> Ready:
    """The same order with its files kept and read. Raises as `take_files` does."""
    order = ready.order
    taken = await take_files(
        given, order.config.files, order.app, order.user, ready.kit.model, context.db, context.room
    )
    if taken.files:
        ready = replace(ready, order=replace(order, taken=taken))
    return await bring_inputs(ready, context)


async def bring_inputs(ready: Ready, context: Context) -> Ready:
    """The same with the files in its inputs, new ones and those of the turns before."""
    order = ready.order
    taken = await take_inputs(
        ready.inputs, ready.config.form, order.app, order.user, ready.kit.model,
        context.db, context.room,
    )  # fmt: skip
    if not taken:
        return ready
    kept: Inputs = {}
    for name, one in taken.items():
        objects = [keep_file(file) for file in one.files]
        kept[name] = objects if isinstance(ready.inputs[name], list) else objects[0]
    # So that a question that has to wait is checked again without fetching its files again.
    given = {
        name: kept[name] if name in kept and value == ready.inputs[name] else value
        for name, value in order.inputs.items()
    }
    return replace(
        ready,
        order=replace(order, inputs=given),
        conversation_inputs=ready.conversation_inputs | kept,
        inputs=ready.inputs | kept,
        taken=taken,
    )


async def _with_kit(
    config: AppConfig, current: AppConfig, context: Context
) -> tuple[AppConfig, Kit, Fallback | None]:
    """The conversation's configuration and kit; the app's current model where its own is gone."""
    if config.model == current.model:
        return config, await context.kit_for(config), None
    try:
        kit = await context.kit_for(config)
    except (ProviderNotInitialized, ModelNotSupported):
        config = replace(config, model=current.model)
        return config, await context.kit_for(config), None
    try:
        return config, kit, Fallback(await context.kit_for(current), current.model)
    except KaiwaError:
        return config, kit, None
