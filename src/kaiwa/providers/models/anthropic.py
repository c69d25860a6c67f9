"""Anthropic's Messages API on its own wire."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec
from msgspec import Struct

from kaiwa.domain.events import Delta, ReasoningDelta, TextDelta, ToolCallDelta, UsageDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage, PromptPicture, ToolCall
from kaiwa.domain.sse import SseEvent
from kaiwa.errors import ProviderNotInitialized
from kaiwa.ports import ChatModel, Sight
from kaiwa.providers.http import Operator
from kaiwa.providers.options import ServerOptions, make_interpreter, read_base_url, read_options
from kaiwa.providers.refusals import Refusal
from kaiwa.providers.streaming import Call, ErrorEvent, ModelServer, write_arguments
from kaiwa.providers.thinking import Thinking

_KIND: Final = "anthropic"
_DEFAULT_URL: Final = "https://api.anthropic.com"
_VERSION: Final = "2023-06-01"
_MAX_TOKENS: Final = 4096
_PARAMS: Final = ("temperature", "top_p", "top_k", "max_tokens", "service_tier")


def create(options: Mapping[str, object], http: Operator) -> ChatModel:
    """See `ServerOptions`; `base_url` may end in `/v1` or not."""
    checked = read_options(_KIND, ServerOptions, options)
    base_url = read_base_url(_KIND, checked, _DEFAULT_URL).removesuffix("/v1")
    wire = AnthropicWire(checked, base_url)
    # It takes 5 MB in base64, and looks at no more pixels.
    sight = Sight(checked.vision, longest_side=1568, most_bytes=3_750_000)
    interpreter = make_interpreter(_KIND, checked)
    return ModelServer(wire, http, interpreter, checked.retry_wait, sight, checked.tools)


class AnthropicWire:
    """Anthropic's `Vendor`."""

    def __init__(self, options: ServerOptions, base_url: str) -> None:
        self._url = f"{base_url}/v1/messages"
        self._key_missing = base_url == _DEFAULT_URL and not options.keyed
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "anthropic-version": _VERSION,
        }
        if options.api_key:
            self._headers["x-api-key"] = options.api_key
        self._headers |= options.headers
        self._thinking = Thinking()

    def write(self, request: ModelRequest) -> Call:
        if self._key_missing:
            raise ProviderNotInitialized(f"Model {request.model} credentials is not initialized.")
        thinking = _write_thinking(request, self._thinking)
        kept = self._thinking if thinking else None
        system, messages = _write_messages(request.messages, kept)
        body: dict[str, object] = {
            "model": request.model,
            "stream": True,
            "max_tokens": _MAX_TOKENS,
            "messages": messages,
        }
        if system:
            body["system"] = system
        body |= _write_tools(request)
        body |= _write_params(request, thinking)
        return Call(self._url, self._headers, msgspec.json.encode(body))

    def start_reading(self) -> "AnthropicReading":
        return AnthropicReading(self._thinking)

    def learn(self, call: Call, refusal: Refusal) -> bool:
        """There is nothing that some servers of this wire do not know."""
        return False


def _write_messages(
    messages: Sequence[PromptMessage], thinking: Thinking | None
) -> tuple[str, list[dict[str, object]]]:
    """The system text, and turns that alternate and begin with the user's.

    Empty messages are left out, since the API refuses them. With `thinking` calls come with the
    thoughts that led to them.
    """
    system: list[str] = []
    turns: list[tuple[str, list[PromptMessage]]] = []
    for message in messages:
        result = message.role == "tool"
        role = "user" if result else message.role
        if not (message.text.strip() or message.pictures or message.calls or result):
            continue
        if role == "system":
            system.append(message.text)
        elif turns and turns[-1][0] == role:
            turns[-1][1].append(message)
        elif turns or message.role == "user":
            turns.append((role, [message]))
    if not turns:
        turns, system = [("user", [PromptMessage("user", text) for text in system])], []
    written: list[dict[str, object]] = [
        {"role": role, "content": _write_content(turn, thinking)} for role, turn in turns
    ]
    return "\n\n".join(system), written


def _write_content(turn: Sequence[PromptMessage], thinking: Thinking | None) -> object:
    """The API wants results, and thoughts, before all else."""
    blocks: list[object] = [
        thought
        for message in turn
        if thinking and (found := thinking.find(message.calls))
        for thought in msgspec.json.decode(found, type=list[msgspec.Raw])
    ]
    blocks += [_write_result(message) for message in turn if message.role == "tool"]
    blocks += [_write_picture(picture) for message in turn for picture in message.pictures]
    calls = [_write_call(call) for message in turn for call in message.calls]
    text = "\n\n".join(m.text for m in turn if m.role != "tool" and m.text.strip())
    if not blocks and not calls:
        return text
    if text:
        blocks.append({"type": "text", "text": text})
    return blocks + calls


def _write_result(message: PromptMessage) -> dict[str, object]:
    block: dict[str, object] = {"type": "tool_result", "tool_use_id": message.call_id}
    return {**block, "content": message.text} if message.text.strip() else block


def _write_picture(picture: PromptPicture) -> dict[str, object]:
    source: dict[str, str] = {"type": "url", "url": picture.url}
    if not picture.url:
        data = b64encode(picture.data).decode()
        source = {"type": "base64", "media_type": picture.mime_type, "data": data}
    return {"type": "image", "source": source}


def _write_call(call: ToolCall) -> dict[str, object]:
    arguments = msgspec.Raw(write_arguments(call).encode())
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _write_tools(request: ModelRequest) -> dict[str, object]:
    """The tools, or those called earlier when there are none now: the API wants to know them."""
    if request.tools:
        tools: list[dict[str, object]] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        return {"tools": tools}
    called = dict.fromkeys(call.name for message in request.messages for call in message.calls)
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in called]
    return {"tools": tools, "tool_choice": {"type": "none"}} if tools else {}


def _write_params(request: ModelRequest, thinking: object) -> dict[str, object]:
    given = request.params
    params = {name: given[name] for name in _PARAMS if given.get(name) not in (None, "", [], {})}
    if thinking:
        params["thinking"] = thinking
        # The API refuses these beside thinking.
        params.pop("temperature", None)
        params.pop("top_k", None)
    if stop := [text for text in request.stop if text.strip()]:
        params["stop_sequences"] = stop
    if request.user:
        params["metadata"] = {"user_id": request.user}
    return params


def _write_thinking(request: ModelRequest, kept: Thinking) -> object:
    """App files say `thinking: true` and `thinking_budget`; the API's own object passes as is.

    None right after a call whose thoughts are not known any more, for the API wants them then.
    """
    said = [message.calls for message in request.messages if message.role == "assistant"]
    if said and said[-1] and not kept.find(said[-1]):
        return None
    given = request.params
    thinking = given.get("thinking")
    if thinking is True:
        return {"type": "enabled", "budget_tokens": given.get("thinking_budget") or 1024}
    return cast(object, thinking) if isinstance(thinking, dict) else None


class _Usage(Struct, gc=False):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None

    def prompt_tokens(self) -> int:
        """Anthropic counts what it cached apart."""
        counts = (self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens)
        return sum(count or 0 for count in counts)


class _Part(Struct, gc=False):
    """A content block or a piece of one."""

    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    """Thoughts that only the API can read."""
    partial_json: str = ""
    id: str = ""
    name: str = ""
    type: str = ""
    input: msgspec.Raw = msgspec.Raw()


class _Message(Struct, gc=False):
    content: list[_Part] = []
    usage: _Usage | None = None


class _Event(Struct, gc=False):
    type: str = ""
    index: int = 0
    delta: _Part | None = None
    content_block: _Part | None = None
    message: _Message | None = None
    usage: _Usage | None = None


class _Whole(Struct, gc=False):
    type: str
    content: list[_Part] = []
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Event).decode
_decode_whole = msgspec.json.Decoder(_Whole).decode


class _Thought:
    """A block of thoughts, as the API wants it back."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._signature = self._data = ""

    def add(self, part: _Part) -> None:
        self._pieces.append(part.thinking)
        self._signature += part.signature
        self._data += part.data

    def block(self) -> dict[str, str]:
        if self._data:
            return {"type": "redacted_thinking", "data": self._data}
        thought = "".join(self._pieces)
        return {"type": "thinking", "thinking": thought, "signature": self._signature}


class AnthropicReading:
    """Reads one answer."""

    def __init__(self, thinking: Thinking) -> None:
        self.finished = False
        self.complete = False
        self._thinking = thinking
        self._thoughts: dict[int, _Thought] = {}
        self._first_call = ""
        self._prompt_tokens = 0
        self._tools: dict[int, int] = {}
        """From the number of a content block to the number of its tool call."""

    def read(self, event: SseEvent, deltas: list[Delta]) -> None:
        found = _decode(event.data)
        match found.type:
            case "content_block_delta" if found.delta:
                self._take_part(found.index, found.delta, deltas)
            case "content_block_start" if found.content_block:
                self._start_block(found.index, found.content_block, deltas)
            case "message_start" if found.message and found.message.usage:
                # No report yet: its completion tokens would stand if the answer were cut.
                self._prompt_tokens = found.message.usage.prompt_tokens()
            case "message_delta":
                self.complete = True
                self._keep_thoughts()
                self._take_usage(found.usage, deltas)
            case "message_stop":
                self.finished = self.complete = True
            case "error":
                raise ErrorEvent(event.data)
            case _:
                pass

    def read_whole(self, body: bytes, deltas: list[Delta]) -> None:
        whole = _decode_whole(body)
        if whole.type != "message":
            raise ErrorEvent(body)
        for index, part in enumerate(whole.content):
            self._start_block(index, part, deltas)
        self._keep_thoughts()
        self._take_usage(whole.usage, deltas)

    def _keep_thoughts(self) -> None:
        if self._first_call and self._thoughts:
            blocks = [thought.block() for _, thought in sorted(self._thoughts.items())]
            self._thinking.keep(self._first_call, blocks)

    def _start_block(self, index: int, block: _Part, deltas: list[Delta]) -> None:
        if block.type == "tool_use":
            number = self._tools.setdefault(index, len(self._tools))
            self._first_call = self._first_call or block.id
            arguments = bytes(block.input).decode()
            given = "" if arguments == "{}" else arguments
            deltas.append(ToolCallDelta(number, block.id, block.name, given))
        else:
            self._take_part(index, block, deltas)

    def _take_part(self, index: int, part: _Part, deltas: list[Delta]) -> None:
        if part.text:
            deltas.append(TextDelta(part.text))
        elif part.thinking or part.signature or part.data:
            self._thoughts.setdefault(index, _Thought()).add(part)
            if part.thinking:
                deltas.append(ReasoningDelta(part.thinking))
        elif part.partial_json and index in self._tools:
            deltas.append(ToolCallDelta(self._tools[index], "", "", part.partial_json))

    def _take_usage(self, usage: _Usage | None, deltas: list[Delta]) -> None:
        if usage is not None:
            prompt = max(self._prompt_tokens, usage.prompt_tokens())
            deltas.append(UsageDelta(prompt, usage.output_tokens or 0))
