"""An app's template + inputs + history + question → the request a model gets.

Templates only substitute: nothing in them runs.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from kaiwa.domain.app import AppConfig
from kaiwa.domain.message import Exchange, JsonValue
from kaiwa.domain.prompt import ModelRequest, PromptMessage, PromptPicture, ToolSpec
from kaiwa.domain.text import count_tokens

_PLACEHOLDER = re.compile(r"\{\{([a-zA-Z_][a-zA-Z0-9_]{0,29})\}\}")
_SPECIAL = re.compile(r"\{\{(#(?:context|histories|query)#)\}\}")
_STOP_HISTORIES = "</histories>"
MOST_STOPS = 4
"""What providers take."""
_KNOWLEDGE = """\
What stands between <context> and </context> was found in the knowledge base for the question. \
Treat it as what you know.

<context>
{{#context#}}
</context>

When you answer:
- If it does not hold the answer, say that you do not know; do not make one up.
- If you are not sure what is asked, ask.
- Do not mention the context or where you have it from.
- Answer in the language of the question."""
_HISTORIES = """\
Here is the chat histories between human and assistant, inside <histories></histories> XML tags.

<histories>
{histories}
</histories>

"""


def render(template: str, inputs: Mapping[str, JsonValue]) -> str:
    """The template with each `{{name}}` replaced by its input.

    An unknown name becomes `{name}`; a value can bring in no placeholder of its own, and nothing
    of the form `<|…|>` is left.
    """
    return _render(template, inputs, {})


def build_request(
    config: AppConfig,
    *,
    model: str,
    inputs: Mapping[str, JsonValue],
    history: Sequence[Exchange] | Sequence[PromptMessage],
    query: str,
    user: str,
    pictures: tuple[PromptPicture, ...] = (),
    context: str | None = None,
    rounds: Sequence[PromptMessage] = (),
    tools: tuple[ToolSpec, ...] = (),
    guide: Callable[[str], str] | None = None,
) -> ModelRequest:
    """What to ask the model `model` on behalf of `user`, an internal id.

    `history` is oldest first; it and the query, with the pictures that came with it, are sent as
    they are. `context` is what was found in the app's knowledge bases, maybe nothing; None without
    any. `rounds` is what an agent has done since; `guide` makes of the app's instruction one
    for a model that calls tools in words. Models of the completion kind get nothing of it.
    """
    earlier = [message for item in history for message in _messages(item)]
    stop = config.model.stop
    if config.model.mode == "completion":
        messages: tuple[PromptMessage, ...] = (
            _as_one_text(config, inputs, earlier, query, context),
        )
        ours = (f"\n{config.user_prefix}:", _STOP_HISTORIES)
        stop = (*stop, *(mark for mark in ours if mark not in stop))[:MOST_STOPS]
    else:
        prompt = _chat_prompt(config, inputs, context)
        if guide:
            told = "\n\n".join([message.text for message in prompt if message.role == "system"])
            others = [message for message in prompt if message.role != "system"]
            prompt = [PromptMessage("system", guide(told)), *others]
        messages = (*prompt, *earlier, PromptMessage("user", query, pictures), *rounds)
    return ModelRequest(
        model=model,
        messages=messages,
        params=dict(config.model.params),
        stop=stop,
        user=user,
        completion=config.model.mode == "completion",
        tools=tools,
    )


def prompt_tokens(request: ModelRequest) -> int:
    """An estimate of all its messages and tools."""
    tokens = sum([message_tokens(message) for message in request.messages])
    if request.tools:
        tokens += count_tokens(msgspec.json.encode(request.tools).decode())
    return tokens


def message_tokens(message: PromptMessage) -> int:
    """An estimate."""
    tokens = count_tokens(message.text)
    if message.pictures:
        tokens += sum([picture.tokens for picture in message.pictures])
    if message.calls:
        tokens += sum([count_tokens(call.name + call.arguments) for call in message.calls])
    return tokens


def _messages(item: Exchange | PromptMessage) -> tuple[PromptMessage, ...]:
    if isinstance(item, PromptMessage):
        return (item,)
    return PromptMessage("user", item.query), PromptMessage("assistant", item.answer)


def _chat_prompt(
    config: AppConfig, inputs: Mapping[str, JsonValue], context: str | None
) -> list[PromptMessage]:
    templates: Sequence[PromptMessage] = config.chat_prompt
    if config.prompt_type == "simple":
        templates = (PromptMessage("system", _before(config.pre_prompt, context)),)
    special = {"#context#": context or ""}
    rendered = [
        PromptMessage(template.role, _render(template.text, inputs, special))
        for template in templates
    ]
    return [message for message in rendered if message.role != "system" or message.text.strip()]


def _as_one_text(
    config: AppConfig,
    inputs: Mapping[str, JsonValue],
    earlier: Sequence[PromptMessage],
    query: str,
    context: str | None,
) -> PromptMessage:
    prefixes = {"user": config.user_prefix, "assistant": config.assistant_prefix}
    histories = "\n".join(f"{prefixes[m.role]}: {m.text}" for m in earlier if m.role in prefixes)
    if config.prompt_type == "advanced":
        special = {"#context#": context or "", "#histories#": histories, "#query#": query}
        return PromptMessage("user", _render(config.completion_prompt, inputs, special))
    text = _render(_before(config.pre_prompt, context), inputs, {"#context#": context or ""})
    if text:
        text += "\n\n"
    if histories:
        text += _HISTORIES.format(histories=histories)
    text += f"\n\n{config.user_prefix}: {query}\n\n{config.assistant_prefix}: "
    return PromptMessage("user", text.lstrip("\n"))


def _before(pre_prompt: str, context: str | None) -> str:
    """The app's instruction behind the place of what was found, if it has knowledge at all.

    Nothing is said twice to an app that has put the place itself.
    """
    if context is None or "{{#context#}}" in pre_prompt:
        return pre_prompt
    return f"{_KNOWLEDGE}\n\n{pre_prompt}".strip()


def _render(template: str, inputs: Mapping[str, JsonValue], special: Mapping[str, str]) -> str:
    """Special texts are put in last, untouched: what a person said is no template."""
    pieces = _SPECIAL.split(template)
    for i in range(0, len(pieces), 2):
        filled = _PLACEHOLDER.sub(lambda found: _value(inputs, found[1]), pieces[i])
        pieces[i] = _rewrite(filled, "<|", "|>", lambda _: "")
    for i in range(1, len(pieces), 2):
        pieces[i] = special.get(pieces[i], f"{{{pieces[i]}}}")
    return "".join(pieces)


def _value(inputs: Mapping[str, JsonValue], name: str) -> str:
    if name not in inputs:
        return f"{{{name}}}"
    return _rewrite(_as_text(inputs[name]), "{{", "}}", lambda inner: f"{{{inner}}}")


def _rewrite(text: str, opener: str, closer: str, rewrite: Callable[[str], str]) -> str:
    """Replaces every `opener … closer` within a line, in linear time whatever the text."""
    if opener not in text:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        at, done = 0, ""
        while (start := line.find(opener, at)) >= 0:
            end = line.find(closer, start + len(opener))
            if end < 0:
                break
            done += line[at:start] + rewrite(line[start + len(opener) : end])
            at = end + len(closer)
        lines.append(done + line[at:])
    return "\n".join(lines)


def _as_text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return msgspec.json.encode(value).decode()
