"""Hostile values in bodies: a text comes back as it was sent, or is refused; nothing breaks."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest

from kaiwa.api.routes import ROUTES, Route
from tests.support.attacks import Fortress, check_answer, send
from tests.support.client import Client, Reply

pytestmark = pytest.mark.anyio

TEXTS = {
    "SQL": "'; DROP TABLE messages; -- \" OR 1=1",
    "LIKE": "%_\\%",
    "a script": "<script>alert(1)</script>",
    "new lines": "a\r\nSet-Cookie: b\r\n\r\ndata: {}\n\nevent: error\n\n",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\u2029",
    "right to left": "\u202eabc\u202c \u2067def\u2069 \u200f",
    "a family": "👩‍👩‍👧‍👦🏳️‍🌈🇯🇵",
    "accents": "e" + "\u0301" * 300,
    "not normal": "ﬀ ﷺ Å Å Ⅷ",
    "private and unassigned": "\ue000\U0010ffff\ufffe\ufeff",
    "invisible": "a\u200b\u200c\u200d\u2060b",
    "shell": "$(id) `id` ; rm -rf / | cat & ${HOME} %PATH%",
    "paths": "../../etc/passwd C:\\..\\x file:///etc/passwd",
    "a null": "null",
    "nothing but blanks": " \t\u3000",
}
ODD: dict[str, Any] = {
    "NULs": "a\0b\0",
    "only a NUL": "\0",
    "a number": 10**70,
    "a fraction": 1e308,
    "true": True,
    "false": False,
    "null": None,
    "a list": ["a", {"b": [None]}],
    "an object": {"$gt": "", "__proto__": {"x": 1}, "constructor": "x"},
    "very long": "a" * 100_000,
    "many accents": "e" + "\u0301" * 100_000,
    "an SQL operator": {"user": {"$ne": None}},
    **TEXTS,
}
# As they stand in the body, for no encoder would write them.
RAW = {
    "not a number": "NaN",
    "infinity": "-Infinity",
    "beyond floats": "1e400",
    "five thousand digits": "9" * 5000,
    "a thousand digits": "9" * 1000,
    "a long fraction": "0." + "1" * 5000,
    "half a character": r'"\ud800"',
    "the other half": r'"\udc00x"',
    "two halves": r'"\ud83d\ude00"',
    "an escaped NUL": r'"a\u0000b"',
    "an escape that is none": r'"\x41"',
    "a new line in a string": '"a\nb"',
    "a comment": '"a" /* b */',
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "wide": "[" + "[]," * 100_000 + "[]]",
}
WITH_BODY = [route for route in ROUTES if route.body]
FRIENDLY: dict[str, Any] = {"user": "eve", "query": "Hello", "name": "x", "rating": "like"}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture
async def eve(fort: Fortress) -> Client:
    return fort.owner.as_user("eve")


async def call(fort: Fortress, client: Client, route: Route, raw: str | bytes | BytesIO) -> Reply:
    path = fort.path_of(route).removeprefix("/v1")
    if route.knowledge:
        client = fort.librarian
    headers = {**client.headers, "Content-Type": "application/json"}
    return await send(client, route.method, path, data=raw, headers=headers)


def fields_of(route: Route) -> list[str]:
    assert route.body
    return [*route.body.__struct_fields__, "nonsense"]


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
async def test_no_value_of_any_field_breaks_a_route(
    fort: Fortress, eve: Client, route: Route
) -> None:
    for field in fields_of(route):
        for value in ODD.values():
            body = json.dumps({**FRIENDLY, field: value})
            check_answer(await call(fort, eve, route, body), body)


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
async def test_no_json_of_any_field_breaks_a_route(
    fort: Fortress, eve: Client, route: Route
) -> None:
    for field in fields_of(route):
        for value in RAW.values():
            others = json.dumps({**FRIENDLY, field: None})[:-1]
            body = f'{others}, "{field}": {value}}}'
            check_answer(await call(fort, eve, route, body), body)


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
async def test_a_value_just_at_the_depth_that_can_be_read_is_no_crash(
    fort: Fortress, eve: Client, route: Route
) -> None:
    """Python's own limit, which depends on how deep one stands already."""
    for field in fields_of(route):
        for depth in range(940, 1000):
            others = json.dumps({**FRIENDLY, field: None})[:-1]
            body = f'{others}, "{field}": {"[" * depth}{"]" * depth}}}'
            check_answer(await call(fort, eve, route, body))


@pytest.mark.parametrize("what", TEXTS)
async def test_a_text_comes_back_as_it_was_sent(fort: Fortress, eve: Client, what: str) -> None:
    text = TEXTS[what]
    client = eve.as_user(f"eve {text}")
    frames = await client.stream(text, auto_generate_name=False)
    assert frames[-1].event == "message_end"
    conversation_id = frames[0].data["conversation_id"]
    assert fort.models.requests[-1].body["messages"][-1] == {"role": "user", "content": text}
    [message] = await client.messages(conversation_id)
    assert message["query"] == text
    renamed = await client.post(f"/conversations/{conversation_id}/name", name=text)
    assert renamed.body["name"] == text
    [conversation] = (await client.get("/conversations")).body["data"]
    assert conversation["name"] == text
    assert (await eve.as_user("eve").get("/conversations", limit=100)).status == 200


@pytest.mark.parametrize(
    ("name", "status"), [("a" * 512, 200), ("👩" * 512, 200), ("a" * 513, 400), ("a" * 10_000, 400)]
)
async def test_a_users_name_is_as_long_as_any_engine_can_index(
    fort: Fortress, name: str, status: int
) -> None:
    client = fort.owner.as_user(name)
    replies = [
        await client.ask("Hello", auto_generate_name=False),
        await client.get("/conversations"),
        await send(client, "GET", f"/messages?conversation_id=&user={quote(name)}"),
        await client.post(f"/chat-messages/{fort.ids['task_id']}/stop"),
    ]
    for reply in replies:
        check_answer(reply)
        assert reply.status == status
        if status == 400:
            assert reply.body["message"] == "user is longer than 512 characters"
            assert reply.body["params"] == "user"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/xml", 415),
        ("application/jsonp", 415),
        ("text/json\t", 415),
        ("a" * 10_000, 415),
        ("application/json; charset=utf-7", 200),
        ("application/json; charset='\"", 200),
    ],
)
async def test_only_json_is_json(fort: Fortress, kind: str, status: int) -> None:
    body = json.dumps(FRIENDLY).encode()
    headers = {**fort.owner.headers, "Content-Type": kind}
    reply = await send(fort.owner, "POST", "/chat-messages", data=body, headers=headers)
    check_answer(reply)
    assert reply.status == status


@pytest.mark.parametrize("coding", ["utf-16", "utf-32", "utf-8-sig", "cp037"])
async def test_json_in_another_coding_is_refused(fort: Fortress, eve: Client, coding: str) -> None:
    reply = await call(fort, eve, WITH_BODY[0], json.dumps(FRIENDLY).encode(coding))
    check_answer(reply)
    assert reply.status == 400


async def test_of_a_key_that_stands_twice_the_last_one_counts(fort: Fortress, eve: Client) -> None:
    raw = '{"user": "owner", "query": "one", "query": "two", "user": "eve twice"}'
    assert (await call(fort, eve, WITH_BODY[0], raw)).status == 200
    [conversation] = (await eve.as_user("eve twice").get("/conversations")).body["data"]
    [message] = await eve.as_user("eve twice").messages(conversation["id"])
    assert message["query"] == "two"


async def test_ten_megabytes_are_taken_and_come_back(fort: Fortress, eve: Client) -> None:
    client = eve.as_user("eve, who says much")
    query = "0123456789" * 1_000_000
    body = json.dumps({"user": client.user, "query": query, "auto_generate_name": False})
    reply = await call(fort, client, WITH_BODY[0], BytesIO(body.encode()))
    check_answer(reply)
    assert reply.status == 200
    [message] = await client.messages(reply.body["conversation_id"])
    assert message["query"] == query


LIMIT = 15_000_000


@pytest.mark.parametrize("chunked", [False, True])
async def test_one_byte_too_many_is_refused_and_the_connection_answers(
    fort: Fortress, eve: Client, chunked: bool
) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 100_000):
            yield b" " * 100_000
        yield b" "

    headers = {**eve.headers, "Content-Type": "application/json"}
    data = in_pieces() if chunked else BytesIO(b" " * (LIMIT + 1))
    reply = await send(eve, "POST", "/chat-messages", data=data, headers=headers)
    check_answer(reply)
    assert (reply.status, reply.body["code"]) == (413, "request_entity_too_large")
    assert (await eve.get("/info")).status == 200
