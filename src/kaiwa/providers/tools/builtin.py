"""The built-in tools: what there is, under which names apps may ask for it, and one as a `Tool`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
from cachetools import LRUCache
from msgspec import Struct

from kaiwa.domain.app import ToolEntry
from kaiwa.domain.message import JsonValue
from kaiwa.domain.prompt import ToolSpec
from kaiwa.domain.tools import describe_function, shape_arguments
from kaiwa.errors import OperatorError, ToolFailed
from kaiwa.ports import ToolOutput
from kaiwa.providers.registry import load_tool
from kaiwa.providers.tools.means import Means, find_painter

Run = Callable[..., Awaitable[str | ToolOutput]]


class Builtin(Struct, frozen=True):
    """A typed function, and how it looks to people."""

    module: str
    function: str
    labels: tuple[str, str, str]
    """In English, Chinese and Japanese."""
    emoji: str
    needs: tuple[str, ...] = ()
    """Settings, one of which has to be set."""


_SEARCH: Final = Builtin(
    "web_search", "web_search", ("Web search", "网页搜索", "ウェブ検索"), "🔎",
    ("search_url", "search_api_key"),
)  # fmt: skip
_PICTURE: Final = Builtin(
    "image", "draw_picture", ("Draw a picture", "绘制图片", "画像を描く"), "🎨", ("image_model",)
)
_PAGE: Final = Builtin(
    "web_page", "webscraper", ("Read a web page", "读取网页", "ウェブページを読む"), "📄"
)
_LANGUAGES: Final = ("en_US", "zh_Hans", "ja_JP")
_REMEMBERED: Final = 1000
_BACKGROUND: Final = "#E0F2FE"

BUILTIN: Final[dict[str, Builtin]] = {
    "time/current_time": Builtin(
        "clock", "current_time", ("Current time", "当前时间", "現在時刻"), "🕒"
    ),
    "time/timezone_conversion": Builtin(
        "clock", "timezone_conversion", ("Convert a time", "时区转换", "時刻の変換"), "🌐"
    ),
    "time/weekday": Builtin("clock", "weekday", ("Weekday", "星期几", "曜日"), "📅"),
    "time/localtime_to_timestamp": Builtin(
        "clock",
        "localtime_to_timestamp",
        ("Time to timestamp", "时间转时间戳", "時刻からタイムスタンプへ"),
        "⏱️",
    ),
    "time/timestamp_to_localtime": Builtin(
        "clock",
        "timestamp_to_localtime",
        ("Timestamp to time", "时间戳转时间", "タイムスタンプから時刻へ"),
        "⏱️",
    ),
    "maths/eval_expression": Builtin(
        "calculator", "eval_expression", ("Calculator", "计算器", "計算機"), "🧮"
    ),
    "webscraper/webscraper": _PAGE,
    "kaiwa/web_search": _SEARCH,
    "searxng/searxng_search": _SEARCH,
    "brave/brave_search": _SEARCH,
    "google/google_search": _SEARCH,
    "bing/bing_web_search": _SEARCH,
    "tavily/tavily_search": _SEARCH,
    "duckduckgo/ddgo_search": _SEARCH,
    "kaiwa/draw_picture": _PICTURE,
    "dalle/dalle2": _PICTURE,
    "dalle/dalle3": _PICTURE,
}
"""By the provider and name that an app's file gives; nearly all are the original's."""


class BuiltinTools:
    """A `toolbox.Source`."""

    def __init__(self, means: Means) -> None:
        """Raises `OperatorError` when the setting `image_model` names no server that could draw."""
        if means.image_model:
            find_painter(means)
        self._means = means
        self._opened: LRUCache[bytes, BuiltinTool] = LRUCache(_REMEMBERED)

    async def open(self, entry: ToolEntry) -> "BuiltinTool":
        """Remembered, for nearly every turn of an app asks for the same."""
        key = msgspec.json.encode(entry)
        tool = self._opened.get(key)
        if tool is None:
            tool = self._opened[key] = await asyncio.to_thread(self._make, entry)
        return tool

    async def list_notes(self, entry: ToolEntry) -> list[str]:
        try:
            tool = await self.open(entry)
        except OperatorError as error:
            return [str(error)]
        return [
            f"its parameter {name} is not honoured"
            for name in _list_given(entry)
            if name not in tool.fixed
        ]

    def _make(self, entry: ToolEntry) -> "BuiltinTool":
        """Reads files the first time."""
        kind = _find(entry, self._means)
        function = load_tool(kind.module, kind.function)
        return BuiltinTool(entry, kind, function, self._means)


class BuiltinTool:
    """One of them, with the parameters that the app has set."""

    def __init__(self, entry: ToolEntry, kind: Builtin, function: Run, means: Means) -> None:
        self._run = partial(function, means)
        self.fixed = _read_fixed(self._run, entry)
        self._shape = shape_arguments(self._run, self.fixed)
        self.spec: ToolSpec = describe_function(entry.name, function, self._shape)
        self.labels: Mapping[str, str] = dict(zip(_LANGUAGES, kind.labels, strict=True))
        self.icon: str | Mapping[str, str] = {"content": kind.emoji, "background": _BACKGROUND}

    async def run(self, arguments: Mapping[str, JsonValue]) -> ToolOutput:
        """See `ports.Tool`."""
        try:
            read = msgspec.convert(arguments, self._shape)
        except msgspec.ValidationError as error:
            raise ToolFailed(f"The arguments are wrong: {error}.") from error
        said = await self._run(**self.fixed, **msgspec.structs.asdict(read))
        return said if isinstance(said, ToolOutput) else ToolOutput(said)


def _find(entry: ToolEntry, means: Means) -> Builtin:
    """Raises `OperatorError`, when there is none or its setting is missing."""
    provider = entry.provider.strip().rsplit("/", 1)[-1].lower()
    found = BUILTIN.get(f"{provider}/{entry.name}")
    if found is None:
        raise OperatorError(f"there is no built-in tool {provider}/{entry.name}")
    if found.needs and not any(getattr(means, name) for name in found.needs):
        raise OperatorError(f"it needs the setting {' or '.join(found.needs)}")
    return found


def _list_given(entry: ToolEntry) -> list[str]:
    """What the app has set; exports hold an empty text for each parameter left to the model."""
    return [name for name, value in entry.parameters.items() if value not in (None, "")]


def _read_fixed(run: Run, entry: ToolEntry) -> dict[str, object]:
    """The parameters that the app has set and the tool can take."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(shape_arguments(run))}
    fixed: dict[str, object] = {}
    for name in _list_given(entry):
        if name in kinds:
            with suppress(msgspec.ValidationError):
                fixed[name] = msgspec.convert(entry.parameters[name], kinds[name], strict=False)
    return fixed
