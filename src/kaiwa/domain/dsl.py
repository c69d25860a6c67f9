"""An app's file: Dify's own YAML format, and one block `kaiwa:` for what only Kaiwa knows.

Nothing in a file is dropped in silence: what is not honoured is told, what is wrong is refused.
"""

import re
from typing import Final, Literal
from uuid import UUID

from kaiwa.domain.app import AppConfig, AppDraft, ModelConfig, Site
from kaiwa.domain.dsl_agent import read_agent
from kaiwa.domain.dsl_files import read_files
from kaiwa.domain.dsl_form import read_form
from kaiwa.domain.dsl_knowledge import read_knowledge
from kaiwa.domain.dsl_later import note_what_is_later
from kaiwa.domain.dsl_moderation import read_external_data_tools, read_moderation
from kaiwa.domain.dsl_voice import read_speech
from kaiwa.domain.dsl_yaml import Block, load
from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import PromptMessage, Role

_ORIGIN = re.compile(r"\*|https?://[^/\s]+")
_ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant"}
_MOST_PROMPT_MESSAGES = 10
_MOST_STOPS = 4


def read_dsl(text: str, file: str) -> tuple[AppDraft, list[str]]:
    """The app in the file, and a line for everything in it that is not honoured.

    Raises `OperatorError`, which names the file, the line and the key.
    """
    notes: list[str] = []
    top = Block(load(text, file), notes)
    about = Block(top.need("app"), notes)
    is_agent = _check_mode(about)
    name = about.need("name")
    if not name.text().strip():
        raise name.fault("must not be empty")
    ours = top.block("kaiwa")
    config = _config(Block(top.need("model_config"), notes), ours, is_agent)
    draft = AppDraft(
        id=_app_id(ours),
        name=name.text().strip(),
        mode="agent-chat" if config.agent else "chat",
        site=_site(about, ours.block("site"), name.text().strip()),
        api_enabled=ours.flag("api_enabled", default=True),
        config=config,
        source=text,
    )
    about.note_rest()
    ours.refuse_rest()
    _read_envelope(top)
    return draft, notes


def _check_mode(about: Block) -> bool:
    """Whether it is an agent."""
    mode = about.need("mode")
    if mode.text() not in ("chat", "agent-chat"):
        known = "'chat' or 'agent-chat'"
        raise mode.fault(f"{mode.text()!r} apps are not supported; it can be {known}")
    return mode.text() == "agent-chat"


def _read_envelope(top: Block) -> None:
    if top.text("kind", "app") != "app":
        top.note("kind", "taken as 'app'")
    top.text("version")
    if top.items("dependencies"):
        top.note("dependencies", "plugins are not installed; models are set up on the server")
    top.note_rest()


def _app_id(ours: Block) -> UUID | None:
    node = ours.find("id")
    if node is None:
        return None
    try:
        return UUID(node.text())
    except ValueError:
        raise node.fault("must be a UUID") from None


def _site(about: Block, ours: Block, name: str) -> Site:
    icon, icon_type = about.text("icon") or Site().icon, about.text("icon_type") or "emoji"
    if icon_type != "emoji":
        about.note("icon_type", "icons other than emoji are not honoured yet")
        icon, icon_type = Site().icon, "emoji"
    site = Site(
        title=ours.text("title") or name,
        description=ours.text("description") or about.text("description"),
        icon=icon,
        icon_background=about.text("icon_background") or Site().icon_background,
        icon_type=icon_type,
        default_language=ours.text("default_language", "en-US"),
        copyright=ours.text("copyright"),
        privacy_policy=ours.text("privacy_policy"),
        custom_disclaimer=ours.text("custom_disclaimer"),
        chat_color_theme=ours.text("chat_color_theme"),
        chat_color_theme_inverted=ours.flag("chat_color_theme_inverted", default=False),
        use_icon_as_answer_icon=about.flag("use_icon_as_answer_icon", default=False),
    )
    ours.refuse_rest()
    return site


def _config(block: Block, ours: Block, is_agent: bool) -> AppConfig:
    model = _model(Block(block.need("model"), block.notes))
    if "pre_prompt" not in block:
        block.need("pre_prompt")
    prompt_type = _prompt_type(block)
    completion = block.block("completion_prompt_config")
    completion_prompt = _completion_prompt(completion)
    if prompt_type == "advanced" and model.mode == "completion" and not completion_prompt:
        raise completion.node.fault("an advanced prompt for a completion model needs prompt.text")
    user_prefix, assistant_prefix = _prefixes(completion)
    completion.note_rest()
    form, raw_form = read_form(block)
    agent, agent_bases = read_agent(block, ours, wanted=is_agent)
    if agent and model.mode == "completion":
        raise block.node.fault("an agent needs a model of the mode 'chat'")
    config = AppConfig(
        model=model,
        prompt_type=prompt_type,
        pre_prompt=block.text("pre_prompt"),
        chat_prompt=_chat_prompt(block.block("chat_prompt_config")),
        completion_prompt=completion_prompt,
        user_prefix=user_prefix,
        assistant_prefix=assistant_prefix,
        form=form,
        raw_form=raw_form,
        opening_statement=block.text("opening_statement") or None,
        suggested_questions=_texts(block, "suggested_questions"),
        suggestions_enabled=_enabled(block, "suggested_questions_after_answer", default=False),
        citations_enabled=_enabled(block, "retriever_resource", default=True),
        more_like_this_enabled=_enabled(block, "more_like_this", default=False),
        blocking=ours.flag("blocking", default=agent is None),
        leaving=_leaving(ours),
        reasoning=_reasoning(ours),
        max_active_requests=_concurrent(ours.block("limits")),
        files=read_files(block),
        agent=agent,
        speech_to_text=_enabled(block, "speech_to_text", default=False),
        speech=read_speech(block, ours),
        moderation=read_moderation(block, ours),
        external_data_tools=read_external_data_tools(block),
        knowledge=read_knowledge(block, ours, agent_bases),
        origins=_origins(ours),
    )
    note_what_is_later(block)
    block.note_rest()
    return config


def _model(block: Block) -> ModelConfig:
    provider, name = block.need("provider"), block.need("name")
    for node in (provider, name):
        if not node.text().strip():
            raise node.fault("must not be empty")
    mode = block.find("mode")
    params = block.block("completion_params")
    stop = _stop(params)
    others: dict[str, JsonValue] = {
        key: node.json() for key, node in params.node.mapping().items() if key != "stop"
    }
    model = ModelConfig(
        provider=provider.text().strip(),
        name=name.text().strip(),
        mode="completion" if mode and mode.choice(("chat", "completion")) != "chat" else "chat",
        params=others,
        stop=stop,
    )
    block.note_rest()
    return model


def _stop(params: Block) -> tuple[str, ...]:
    node = params.find("stop")
    if node is None:
        return ()
    marks = [node] if isinstance(node.value, str) else node.items()
    stop = tuple(text for mark in marks if (text := mark.text()))
    if len(stop) > _MOST_STOPS:
        raise node.fault(f"must have at most {_MOST_STOPS} texts")
    return stop


def _prompt_type(block: Block) -> Literal["simple", "advanced"]:
    node = block.find("prompt_type")
    if node and node.choice(("simple", "advanced")) == "advanced":
        return "advanced"
    return "simple"


def _chat_prompt(block: Block) -> tuple[PromptMessage, ...]:
    items = block.items("prompt")
    if len(items) > _MOST_PROMPT_MESSAGES:
        raise items[-1].fault(f"a prompt must have at most {_MOST_PROMPT_MESSAGES} messages")
    messages: list[PromptMessage] = []
    for item in items:
        message = Block(item, block.notes)
        role = message.need("role").choice(tuple(_ROLES))
        messages.append(PromptMessage(_ROLES[role], message.text("text")))
        message.note_rest()
    block.note_rest()
    return tuple(messages)


def _completion_prompt(block: Block) -> str:
    prompt = block.block("prompt")
    text = prompt.text("text")
    prompt.note_rest()
    return text


def _prefixes(block: Block) -> tuple[str, str]:
    roles = block.block("conversation_histories_role")
    prefixes = roles.text("user_prefix") or "Human", roles.text("assistant_prefix") or "Assistant"
    roles.note_rest()
    return prefixes


def _enabled(block: Block, key: str, *, default: bool) -> bool:
    switch = block.block(key)
    on = switch.flag("enabled", default)
    switch.note_rest()
    return on


def _texts(block: Block, key: str) -> tuple[str, ...]:
    return tuple(text for item in block.items(key) if (text := item.text().strip()))


def _leaving(ours: Block) -> Literal["finish", "stop"]:
    node = ours.find("leaving")
    return "stop" if node and node.choice(("finish", "stop")) == "stop" else "finish"


def _reasoning(ours: Block) -> Literal["answer", "hide"]:
    node = ours.find("reasoning")
    return "hide" if node and node.choice(("answer", "hide")) == "hide" else "answer"


def _concurrent(limits: Block) -> int:
    node = limits.find("concurrent")
    limits.refuse_rest()
    return 0 if node is None else node.whole(0)


def _origins(ours: Block) -> tuple[str, ...]:
    items = ours.items("origins")
    for item in items:
        if not _ORIGIN.fullmatch(item.text()):
            raise item.fault("must be an origin such as https://chat.example.com, without a path")
    return tuple(item.text() for item in items)
