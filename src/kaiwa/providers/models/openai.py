"""Any server that speaks OpenAI's chat completions (or the older completions)."""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kaiwa.domain.events import Delta, ReasoningDelta, TextDelta, ToolCallDelta, UsageDelta
from kaiwa.domain.prompt import ModelRequest, PromptMessage, ToolCall, ToolSpec
from kaiwa.domain.sse import SseEvent
from kaiwa.errors import CompletionFailed, ProviderNotInitialized
from kaiwa.ports import ChatModel, Sight
from kaiwa.providers.http import Operator
from kaiwa.providers.options import ServerOptions, make_interpreter, read_base_url, read_options
from kaiwa.providers.refusals import Interpreter, Refusal, tools_not_supported
from kaiwa.providers.streaming import Call, ErrorEvent, ModelServer, is_object, write_arguments
from kaiwa.providers.thinking import Thinking

_KIND: Final = "openai"
_DEFAULT_URL: Final = "https://api.openai.com/v1"
_REASONS: Final = re.compile(r"o1|o3|o4|gpt-5")
# What we say ourselves, or what is no parameter of the wire; all others are passed on.
_ASKED: Final = ("model", "messages", "prompt", "stream", "stream_options", "tools", "user", "n")
_OURS: Final = frozenset((*_ASKED, "script", "json_schema"))
# Refused beside no tools.
_OF_TOOLS: Final = frozenset(("tool_choice", "parallel_tool_calls"))
_LONGEST_CALL: Final = 200_000
"""Characters of one call's arguments."""


class OpenAIOptions(ServerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shared options, and two headers by name."""

    organization: str = ""
    project: str = ""


def create(options: Mapping[str, object], http: Operator) -> ChatModel:
    """See `OpenAIOptions`; servers other than OpenAI's need no `api_key`."""
    checked = read_options(_KIND, OpenAIOptions, options)
    wire = OpenAIWire(checked, read_base_url(_KIND, checked, _DEFAULT_URL))
    interpreter = make_interpreter(_KIND, checked)
    sight = Sight(checked.vision)
    return ModelServer(wire, http, interpreter, checked.retry_wait, sight, checked.tools)


def read_server(options: Mapping[str, object]) -> tuple[str, dict[str, str], Interpreter]:
    """The same server for its other arts: base address, headers, and who reads its refusals.

    Raises `OperatorError`.
    """
    checked = read_options(_KIND, OpenAIOptions, options)
    base_url = read_base_url(_KIND, checked, _DEFAULT_URL)
    return base_url, _write_headers(checked), make_interpreter(_KIND, checked)


def _write_headers(options: OpenAIOptions) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if options.api_key:
        headers["Authorization"] = f"Bearer {options.api_key}"
    if options.organization:
        headers["OpenAI-Organization"] = options.organization
    if options.project:
        headers["OpenAI-Project"] = options.project
    return headers | options.headers


class OpenAIWire:
    """OpenAI's `Vendor`."""

    def __init__(self, options: OpenAIOptions, base_url: str) -> None:
        self._name = options.name or _KIND
        self._base_url = base_url
        self._key_missing = base_url == _DEFAULT_URL and not options.keyed
        self._asks_usage = True
        self._thinking = Thinking()
        self._headers = {"Accept": "text/event-stream", **_write_headers(options)}

    def write(self, request: ModelRequest) -> Call:
        if self._key_missing:
            raise ProviderNotInitialized(f"Model {request.model} credentials is not initialized.")
        body: dict[str, object] = {"model": request.model, "stream": True}
        if request.completion:
            if request.tools:
                raise tools_not_supported(request.model)
            path = "/completions"
            body["prompt"] = "".join(message.text for message in request.messages)
        else:
            path = "/chat/completions"
            body["messages"] = [
                _write_message(message, self._thinking) for message in request.messages
            ]
        if request.tools:
            body["tools"] = [_write_tool(tool) for tool in request.tools]
        if self._asks_usage:
            body["stream_options"] = {"include_usage": True}
        body |= _write_params(request, self._name)
        return Call(self._base_url + path, self._headers, msgspec.json.encode(body))

    def start_reading(self) -> "OpenAIReading":
        return OpenAIReading(self._thinking)

    def learn(self, call: Call, refusal: Refusal) -> bool:
        """Some servers refuse a request that asks for the usage."""
        if refusal.status not in {400, 422} or "stream_options" not in refusal.sentence:
            return False
        self._asks_usage = False
        return b'"stream_options"' in call.body


def _write_message(message: PromptMessage, thinking: Thinking) -> dict[str, object]:
    content = _write_parts(message) if message.pictures else message.text
    written: dict[str, object] = {"role": message.role, "content": content}
    if message.calls:
        written["content"] = content or None  # some servers refuse an empty text
        written["tool_calls"] = [_write_call(call, thinking) for call in message.calls]
        if thought := thinking.find(message.calls):
            written["reasoning_content"] = thought
    elif message.role == "tool":
        written["tool_call_id"] = message.call_id
    return written


def _write_call(call: ToolCall, thinking: Thinking) -> dict[str, object]:
    function = {"name": call.name, "arguments": write_arguments(call)}
    written: dict[str, object] = {"id": call.id, "type": "function", "function": function}
    if beside := thinking.find((call,), beside=True):
        written["extra_content"] = beside
    return written


def _write_tool(tool: ToolSpec) -> dict[str, object]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    }


def _write_parts(message: PromptMessage) -> list[dict[str, object]]:
    parts: list[dict[str, object]] = []
    if message.text:
        parts.append({"type": "text", "text": message.text})
    for picture in message.pictures:
        url = picture.url or f"data:{picture.mime_type};base64,{b64encode(picture.data).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url, "detail": picture.detail}})
    return parts


def _write_params(request: ModelRequest, provider: str) -> dict[str, object]:
    given = request.params
    hidden = _OURS if request.tools else _OURS | _OF_TOOLS
    params = {
        name: value
        for name, value in given.items()
        if name not in hidden and value not in (None, "", [], {})
    }
    if _REASONS.match(request.model) and "max_tokens" in params:
        params["max_completion_tokens"] = params.pop("max_tokens")
    shape = params.get("response_format")
    if isinstance(shape, str):
        params["response_format"] = _write_format(shape, given.get("json_schema"), provider)
    if request.stop:
        params["stop"] = request.stop
    if request.user:
        params["user"] = request.user
    return params


def _write_format(shape: str, schema: object, provider: str) -> dict[str, object]:
    """App files give the format by its name, and the schema as text beside it."""
    if shape != "json_schema" or not schema:
        return {"type": shape}
    if isinstance(schema, str):
        try:
            schema = msgspec.json.decode(schema)
        except msgspec.DecodeError as error:
            sentence = "Bad Request Error, the app's json_schema is not valid JSON"
            raise CompletionFailed(f"[{provider}] {sentence}") from error
    return {"type": shape, "json_schema": schema}


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """Some servers send the object itself."""


class _ToolCall(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: Any = None
    """What Gemini wants back with the call: the signature of its thoughts."""


class _Said(Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    """The one call, as it was told before there were `tool_calls`."""


class _Choice(Struct, gc=False):
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Usage(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class OpenAIReading:
    """Reads one answer."""

    def __init__(self, thinking: Thinking) -> None:
        self.finished = False
        self.complete = False
        self._calls = _Calls(thinking)
        self._thinking = thinking
        self._thoughts: list[str] = []

    def read(self, event: SseEvent, deltas: list[Delta]) -> None:
        if event.data == b"[DONE]":
            self.finished = self.complete = True
            return
        chunk = _decode(event.data)
        if event.event == "error" or chunk.error:
            raise ErrorEvent(event.data)
        self._take(chunk, deltas)

    def read_whole(self, body: bytes, deltas: list[Delta]) -> None:
        chunk = _decode(body)
        if chunk.error:
            raise ErrorEvent(body)
        if not chunk.choices:
            raise msgspec.ValidationError("no choices")
        self._take(chunk, deltas)

    def _take(self, chunk: _Chunk, deltas: list[Delta]) -> None:
        if chunk.choices:
            choice = chunk.choices[0]
            if choice.text:
                deltas.append(TextDelta(choice.text))
            elif said := choice.delta or choice.message:
                _take_said(said, deltas)
                if said.reasoning_content:
                    self._thoughts.append(said.reasoning_content)
                if said.tool_calls or said.function_call:
                    self._calls.take(said, deltas, whole=choice.delta is None)
            if choice.finish_reason:
                self.complete = True
                if self._thoughts and self._calls.first_id:
                    self._thinking.keep(self._calls.first_id, "".join(self._thoughts))
        if usage := chunk.usage:
            deltas.append(UsageDelta(usage.prompt_tokens or 0, usage.completion_tokens or 0))


def _take_said(said: _Said, deltas: list[Delta]) -> None:
    if reasoning := said.reasoning_content or said.reasoning:
        deltas.append(ReasoningDelta(reasoning))
    if text := said.content or said.refusal:
        deltas.append(TextDelta(text))


class _OpenCall(Struct, gc=False):
    """What has come of one call."""

    number: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    """As much of them as has to be known, to find their end."""

    def continues(self, id: str, name: str, arguments: str) -> bool:
        """Whether these are a further piece of it; some servers repeat the name in each.

        Without a name they are, whatever the id: there are servers that invent one for each piece.
        """
        if not name or not self.name:
            return True
        if id and self.id:
            return id == self.id
        return name == self.name and not (arguments and self._whole())

    def add(self, arguments: str) -> None:
        if len(self.arguments) <= _LONGEST_CALL:
            self.arguments += arguments

    def _whole(self) -> bool:
        """Only what ends like an object is read as one: there may be thousands of pieces."""
        return self.arguments.rstrip().endswith("}") and is_object(self.arguments)


class _Calls:
    """Tells the calls of one answer apart.

    Not by `index` alone: some servers leave it out, others give the same to calls made at once.
    """

    def __init__(self, thinking: Thinking) -> None:
        self.first_id = ""
        self._thinking = thinking
        self._count = 0
        self._open: dict[int | None, _OpenCall] = {}
        """The last call by `index`; by None the last of all."""

    def take(self, said: _Said, deltas: list[Delta], *, whole: bool) -> None:
        pieces = said.tool_calls or [_ToolCall(0, function=said.function_call)]
        for position, piece in enumerate(pieces):
            self._take_piece(position if whole else piece.index, piece, deltas)

    def _take_piece(self, index: int | None, piece: _ToolCall, deltas: list[Delta]) -> None:
        function = piece.function or _Function()
        id, name, arguments = piece.id or "", function.name or "", function.arguments or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        call = self._open.get(index)
        if call is None or not call.continues(id, name, arguments):
            call = self._open[index] = self._open[None] = _OpenCall(self._count)
            self._count += 1
        id, name = "" if call.id else id, "" if call.name else name
        call.id, call.name = call.id or id, call.name or name
        self.first_id = self.first_id or call.id
        if piece.extra_content:
            self._thinking.keep(call.id, piece.extra_content, beside=True)
        call.add(arguments)
        if id or name or arguments:
            deltas.append(ToolCallDelta(call.number, id, name, arguments))
