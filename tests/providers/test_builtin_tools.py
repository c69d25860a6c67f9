"""The built-in tools at real servers: 127.0.0.2 plays the web, 127.0.0.1 the operator's network."""

import json
import logging
import math
import time
from base64 import b64encode
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pytest_socket import socket_allow_hosts

from kaiwa.domain.app import AgentConfig, ToolEntry
from kaiwa.domain.tools import check_schema, read_arguments
from kaiwa.errors import OperatorError, ToolFailed
from kaiwa.files.extract import Extractor
from kaiwa.files.kinds import UNKNOWN_MIME_TYPE, Kind
from kaiwa.files.parsers.wire import Limits
from kaiwa.ports import Tool, ToolOutput
from kaiwa.providers.catalog import Catalog
from kaiwa.providers.guarded import Guarded
from kaiwa.providers.http import Operator
from kaiwa.providers.tools.builtin import BUILTIN, BuiltinTools
from kaiwa.providers.tools.calculator import LONGEST, calculate
from kaiwa.providers.tools.means import Means
from kaiwa.providers.tools.toolbox import Toolbox
from tests.files.documents import make_pdf
from tests.support.file_server import Site, say
from tests.support.model_server import Behaviour, ModelServer, raw, refuse

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 27, 6, 30, tzinfo=UTC)
KEY = "canary-5a1c77-never-to-be-seen"
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "tools.md"


@pytest.fixture(autouse=True)
def _all_of_loopback(_loopback_alone: None) -> None:
    socket_allow_hosts(["127.0.0.0/8", "::1"])


@pytest.fixture
async def web(anyio_backend: str) -> AsyncGenerator[Site]:
    async with Site("127.0.0.2") as opened:
        yield opened


@pytest.fixture
async def means(http: Operator, server: ModelServer, tmp_path: Path) -> AsyncGenerator[Means]:
    extractor = Extractor(Limits())
    guarded = Guarded([ip_network("127.0.0.2/32")])

    async def read_document(data: bytes, extension: str) -> str:
        kind = Kind("document", extension, UNKNOWN_MIME_TYPE)
        return (await extractor.extract(data, kind)).text

    entry = {"kind": "openai", "base_url": server.openai_url, "api_key": KEY, "aliases": ["draws"]}
    catalog = Catalog(http, {"pictures": entry}, {})
    yield Means(lambda: NOW, http, guarded, read_document, catalog)
    await guarded.close()


def entry(name: str, **parameters: Any) -> ToolEntry:
    """By the name in the table."""
    provider, _, tool = name.partition("/")
    return ToolEntry("builtin", provider, tool, parameters=parameters)


async def open_tool(means: Means, name: str, **parameters: Any) -> Tool:
    return await BuiltinTools(means).open(entry(name, **parameters))


async def run(tool: Tool, **arguments: Any) -> ToolOutput:
    """As an agent does it."""
    return await tool.run(read_arguments(tool.spec.parameters, json.dumps(arguments)))


async def told(means: Means, name: str, **arguments: Any) -> str:
    return (await run(await open_tool(means, name), **arguments)).text


async def failure(means: Means, name: str, **arguments: Any) -> str:
    with pytest.raises(ToolFailed) as caught:
        await told(means, name, **arguments)
    assert KEY not in caught.value.message
    return caught.value.message


# The table


@pytest.mark.parametrize("name", BUILTIN)
async def test_each_tool_can_be_told_to_a_model(means: Means, name: str):
    means = replace(means, image_model="pictures/m", search_url="http://127.0.0.1:9")
    tool = await open_tool(means, name)
    assert tool.spec.name == name.partition("/")[2]
    assert tool.spec.description
    check_schema(tool.spec.parameters)
    assert tool.spec.parameters["additionalProperties"] is False
    assert set(tool.labels) == {"en_US", "zh_Hans", "ja_JP"}
    assert set(tool.icon) == {"content", "background"}


@pytest.mark.parametrize("name", BUILTIN)
async def test_each_tool_and_its_parameters_are_documented(means: Means, name: str):
    provider, _, tool_name = name.partition("/")
    lines = GUIDE.read_text("utf-8").splitlines()
    row = next(line for line in lines if f"`{provider}` / `{tool_name}`" in line)
    means = replace(means, image_model="pictures/m", search_url="http://127.0.0.1:9")
    tool = await open_tool(means, name)
    properties: Any = tool.spec.parameters["properties"]
    assert all(f"`{parameter}`" in row for parameter in properties)
    assert all(f"`{setting}`" in row for setting in BUILTIN[name].needs)


# The toolbox


async def test_a_toolbox_opens_what_it_can(means: Means, caplog: pytest.LogCaptureFixture):
    agent = AgentConfig(
        tools=(
            entry("time/current_time", timezone="Asia/Tokyo"),
            replace(entry("time/weekday"), provider="langgenius/time/Time"),
            entry("time/current_time"),
            entry("stackexchange/search"),
            entry("searxng/searxng_search"),
            ToolEntry("mcp", "notes", "find"),
        )
    )
    toolbox = Toolbox({"builtin": BuiltinTools(means)})
    with caplog.at_level(logging.WARNING):
        names = [[tool.spec.name for tool in await toolbox.open(agent)] for _ in range(3)]
    assert names == [["current_time", "weekday"]] * 3
    assert len(caplog.records) == 3
    assert await toolbox.list_notes(agent) == [
        "the tool stackexchange/search: there is no built-in tool stackexchange/search",
        "the tool searxng/searxng_search: it needs the setting search_url or search_api_key",
        "the tool notes/find: tools of the type mcp are not supported",
        "the tool current_time is there twice; the first is used",
    ]


async def test_what_the_app_has_set_is_not_asked_of_the_model(means: Means):
    tool = await open_tool(means, "time/current_time", timezone="Asia/Tokyo", format="", more=None)
    assert set(tool.spec.parameters["properties"]) == {"format"}  # pyright: ignore[reportArgumentType]
    assert (await run(tool, format="%H:%M")).text == "15:30"
    with pytest.raises(ToolFailed):
        await run(tool, timezone="UTC")
    with pytest.raises(ToolFailed):
        await tool.run({"timezone": "UTC"})


async def test_parameters_that_cannot_be_honoured_are_told(means: Means):
    tools = BuiltinTools(replace(means, image_model="pictures/m"))
    found = entry("dalle/dalle2", size="small", n="1", prompt="")
    assert await tools.list_notes(found) == [
        "its parameter size is not honoured",
        "its parameter n is not honoured",
    ]
    assert set((await tools.open(found)).fixed) == set()
    page = entry("webscraper/webscraper", start="20", url="")
    assert await tools.list_notes(page) == []
    assert (await tools.open(page)).fixed == {"start": 20}


@pytest.mark.parametrize("model", ["none/m", "quoting/m"])
async def test_an_image_model_needs_a_server_that_can_draw(means: Means, model: str):
    with pytest.raises(OperatorError, match="The setting image_model names"):
        BuiltinTools(replace(means, image_model=model))


# The clock


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("current_time", {}, "2026-11-27 06:30:00 Friday, UTC (UTC+00:00)"),
        (
            "current_time",
            {"timezone": "America/New_York"},
            "2026-11-27 01:30:00 Friday, America/New_York (UTC-05:00)",
        ),
        ("current_time", {"timezone": "Asia/Tokyo", "format": "%d.%m. %H Uhr"}, "27.11. 15 Uhr"),
        (
            "timezone_conversion",
            {
                "current_time": "2026-7-1 8:00:00",
                "current_timezone": "Europe/Berlin",
                "target_timezone": "Asia/Kolkata",
            },
            "2026-07-01 11:30:00 Wednesday, Asia/Kolkata (UTC+05:30)",
        ),
        ("weekday", {"year": 2024, "month": 2, "day": 29}, "2024-02-29 is a Thursday."),
        ("localtime_to_timestamp", {"localtime": "1970-01-02", "timezone": "UTC"}, "86400"),
        (
            "timestamp_to_localtime",
            {"timestamp": 0, "timezone": "Asia/Tokyo"},
            "1970-01-01 09:00:00 Thursday, Asia/Tokyo (UTC+09:00)",
        ),
    ],
)
async def test_the_clock_tells(means: Means, name: str, arguments: dict[str, Any], answer: str):
    assert await told(means, f"time/{name}", **arguments) == answer


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("current_time", {"timezone": "Mars/Base"}, "There is no time zone 'Mars/Base'"),
        ("current_time", {"timezone": "../../etc/passwd"}, "There is no time zone"),
        ("current_time", {"timezone": "a" * 5000}, "There is no time zone"),
        ("current_time", {"format": "%999999999Y"}, "The arguments are wrong: format"),
        ("weekday", {"year": 2023, "month": 2, "day": 29}, "There is no such date"),
        ("localtime_to_timestamp", {"localtime": "soon"}, "'soon' is not a time"),
        ("timestamp_to_localtime", {"timestamp": 1e300}, "There is no such time"),
        (
            "timezone_conversion",
            {
                "current_time": "0001-01-01 00:00:00",
                "current_timezone": "Asia/Tokyo",
                "target_timezone": "America/New_York",
            },
            "There is no such time",
        ),
    ],
)
async def test_the_clock_refuses(means: Means, name: str, arguments: dict[str, Any], sentence: str):
    assert sentence in await failure(means, f"time/{name}", **arguments)


# The calculator


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("0.1 + 0.2", "0.3"),
        ("2 ^ 10 − 3 × 4 ÷ 2", "1018"),
        ("-2 ** 2", "-4"),
        ("= (1 + 2) * 3", "9"),
        ("7 // 2 + 7 % 4", "6"),
        ("sqrt(2) * sqrt(2)", "2"),
        ("factorial(25)", "15511210043330985984000000"),
        ("round(2.567, 1) + log(8, 2) + max(1, 2)", "7.6"),
        ("sin(pi / 6)", "0.5"),
    ],
)
def test_the_calculator_reckons(expression: str, answer: str):
    assert calculate(expression) == answer


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("1 / 0", "divides by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("factorial(10 ** 9)", "too large"),
        ("round(5, -10 ** 9)", "too large"),
        ("lcm(9 ** 3000, 7 ** 3000)", "too large"),
        ("1e308 * 10", "too large"),
        ("(-1) ** 0.5", "no real value"),
        ("sqrt(-1)", "no value"),
        ("1,000 + 1", "without commas"),
        ("", "cannot hold"),
        ("2 +", "cannot be read"),
        ("__import__('os').system('true')", "cannot hold"),
        ("().__class__", "cannot hold"),
        ("open(1)", "no function 'open'"),
        ("1 << 9", "not known"),
        ("'a' * 9", "cannot hold"),
        ("-" * 999 + "1", "nested too deeply"),
        ("(" * 400, "too many nested"),
        ("1" * (LONGEST + 1), "longer than"),
    ],
)
def test_the_calculator_refuses(expression: str, sentence: str):
    with pytest.raises(ToolFailed, match=sentence):
        calculate(expression)


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "^", "<<", "@"])
    names = st.sampled_from(["sqrt", "factorial", "round", "comb", "lcm", "log", "exp", "min", "x"])
    return (
        st.tuples(inner, operators, inner).map(lambda parts: f"({' '.join(parts)})")
        | st.tuples(names, inner).map(lambda parts: f"{parts[0]}({parts[1]})")
        | st.tuples(names, inner, inner).map(lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})")
        | inner.map(lambda part: f"-{part}")
    )


LEAVES = st.integers(-(10**30), 10**30).map(str) | st.floats(0, 1e308).map(repr) | st.just("pi")


@given(st.recursive(LEAVES, compound, max_leaves=12) | st.text(max_size=LONGEST))
def test_the_calculator_always_ends_soon_with_a_number_or_a_refusal(expression: str):
    began = time.process_time()
    try:
        answer = calculate(expression)
    except ToolFailed:
        answer = "0"
    assert math.isfinite(int(answer) % 1 if answer.lstrip("-").isdigit() else float(answer))
    assert time.process_time() - began < 0.5


@given(st.integers(), st.integers(), st.sampled_from(["+", "-", "*"]))
def test_whole_numbers_are_exact(a: int, b: int, operator: str):
    exact = {"+": a + b, "-": a - b, "*": a * b}[operator]
    assert calculate(f"({a}) {operator} ({b})") == str(exact)


# Web pages


async def test_a_page_is_read_as_text(means: Means, web: Site):
    page = b"<html><title>Cats</title><script>x()</script><p>Cats purr.</p><p>Often.</p></html>"
    web.pages["/cats"] = say(page, "Content-Type: text/html; charset=utf-8")
    assert await told(means, "webscraper/webscraper", url=web.url("/cats")) == (
        "Cats\nCats purr.\nOften."
    )


async def test_a_pdf_and_plain_text_are_read_too(means: Means, web: Site):
    web.pages["/a.pdf"] = say(make_pdf(["Purring"]), "Content-Type: application/pdf")
    web.pages["/a.txt"] = say(b"<b>as it is", "Content-Type: text/plain")
    assert "Purring" in await told(means, "webscraper/webscraper", url=web.url("/a.pdf"))
    assert await told(means, "webscraper/webscraper", url=web.url("/a.txt")) == "<b>as it is"


async def test_a_long_page_is_read_in_parts(means: Means, web: Site):
    web.pages["/long"] = say(b"a" * 20_000 + b"b" * 500, "Content-Type: text/plain")
    url = web.url("/long")
    first = await told(means, "webscraper/webscraper", url=url)
    assert first == "a" * 20_000 + "\n\n[500 more characters follow; start=20000 reads on.]"
    assert await told(means, "webscraper/webscraper", url=url, start=20_000) == "b" * 500
    assert "only 20500" in await failure(means, "webscraper/webscraper", url=url, start=30_000)


async def test_pages_that_cannot_be_read_are_refused(means: Means, web: Site, server: ModelServer):
    web.pages["/a.zip"] = say(b"PK", "Content-Type: application/zip")
    web.pages["/empty"] = say(b" ", "Content-Type: text/html")
    web.pages["/huge"] = (
        b"HTTP/1.1 200 X\r\nContent-Type: text/html\r\nContent-Length: 6000000\r\n\r\n"
    )
    for url, sentence in (
        (web.url("/a.zip"), "no text at this address but application/zip"),
        (web.url("/empty"), "no text"),
        (web.url("/huge"), "File size exceeded"),
        (web.url("/none"), "HTTP 404"),
        (f"{server.openai_url}/models", "could not be reached"),
        ("file:///etc/passwd", "cannot be fetched"),
        ("cats", "cannot be fetched"),
    ):
        assert sentence in await failure(means, "webscraper/webscraper", url=url)
    assert server.requests == []


# Searches


async def test_searxng_is_asked(means: Means):
    found = [
        {"url": f"https://{i}.example/", "title": "<b>Cats</b> &amp; dogs", "content": "x" * 900}
        for i in range(9)
    ]
    async with Site("127.0.0.1") as site:
        means = replace(means, search_url=site.url("/sub/"))
        site.pages["/sub/search?q=cats+%26+dogs&format=json&time_range=week"] = say(
            json.dumps({"query": "cats", "results": found}).encode()
        )
        said = await told(
            means, "searxng/searxng_search", query="cats & dogs", count=2, time_range="week"
        )
    assert said.count("Cats & dogs\nhttps://") == 2
    assert len(said) < 1200


async def test_brave_is_asked_with_its_key(means: Means):
    found = {"web": {"results": [{"url": "https://a.example", "title": "A", "description": "d"}]}}
    async with Site("127.0.0.1") as site:
        means = replace(means, search_url=site.url("/res"), search_api_key=KEY)
        site.pages["/res?q=cats&count=5&freshness=pd"] = say(json.dumps(found).encode())
        said = await told(means, "brave/brave_search", query="cats", time_range="day")
        assert site.requests[0].headers["x-subscription-token"] == KEY
    assert said == "A\nhttps://a.example\nd"


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (say(b'{"results": []}'), "Nothing was found."),
        (say(b"<html>"), "sent no results"),
        (say(b'{"results": 1}'), "sent no results"),
        (say(b"", status=403), "HTTP 403"),
    ],
)
async def test_a_search_without_results_says_so(means: Means, page: bytes, sentence: str):
    async with Site("127.0.0.1") as site:
        means = replace(means, search_url=site.url(""))
        site.pages["/search?q=cats&format=json"] = page
        tool = await open_tool(means, "kaiwa/web_search")
        try:
            said = (await run(tool, query="cats")).text
        except ToolFailed as error:
            said = error.message
    assert sentence in said


async def test_a_search_engine_that_is_away_is_said_so(means: Means):
    means = replace(means, search_url="http://127.0.0.1:9")
    sentence = await failure(means, "kaiwa/web_search", query="cats")
    assert sentence == "The search has failed: the server could not be reached."


# Pictures


def answering(answer: Any) -> Behaviour:
    return raw(json.dumps(answer).encode(), content_type="application/json")


async def test_a_picture_is_drawn(means: Means, server: ModelServer):
    server.play(answering({"data": [{"b64_json": b64encode(PNG).decode()}]}))
    means = replace(means, image_model="draws/dall-e-3")
    tool = await open_tool(means, "dalle/dalle3", size="vertical")
    said = await run(tool, prompt="A cat.")
    assert said.files[0].name == "picture.png"
    assert (said.files[0].mime_type, said.files[0].data) == ("image/png", PNG)
    assert "already shown" in said.text
    request = server.requests[-1]
    assert request.path.endswith("/v1/images/generations")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {"model": "dall-e-3", "prompt": "A cat.", "n": 1, "size": "1024x1792"}


async def test_a_picture_may_be_at_an_address(means: Means, server: ModelServer, web: Site):
    web.pages["/a"] = say(b"\xff\xd8\xff\xe0", "Content-Type: image/jpeg")
    server.play(answering({"data": [{"url": web.url("/a")}]}))
    means = replace(means, image_model="pictures/m")
    said = await run(await open_tool(means, "kaiwa/draw_picture"), prompt="A cat.")
    assert said.files[0].mime_type == "image/jpeg"
    assert server.requests[-1].body["size"] == "1024x1024"


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        (refuse(400, f"No cats with {KEY}"), "Bad Request Error, No cats with ***"),
        (answering({"data": []}), "sent no picture"),
        (answering({"data": [{}]}), "sent no picture"),
        (answering(["x"]), "sent no picture"),
        (answering({"data": [{"b64_json": "a"}]}), "broken picture"),
        (answering({"data": [{"b64_json": "PHN2Zz4="}]}), "no picture"),
        (answering({"data": [{"url": "http://127.0.0.1:9/a"}]}), "could not be reached"),
    ],
)
async def test_a_picture_that_does_not_come_is_said_so(
    means: Means, server: ModelServer, behaviour: Behaviour, sentence: str
):
    server.play(behaviour)
    means = replace(means, image_model="pictures/m")
    assert sentence in await failure(means, "kaiwa/draw_picture", prompt="A cat.")
