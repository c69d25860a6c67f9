"""What S3 does wrong: each failure by its name, in bounded time, without secrets or leftovers."""

import asyncio
import logging
import os
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest
from anyio import to_thread
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from kaiwa.errors import BlobsForbidden, BlobsUnavailable, BlobTooLarge, KaiwaError, NotFound
from kaiwa.ports import BlobStore
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.providers.blobs.parts import PART
from tests.support.object_server import (
    REGION,
    Asked,
    Bucket,
    Reply,
    Stub,
    object_server,
    refusal,
    reply,
)

pytestmark = pytest.mark.anyio
KEY_ID = "AKIDEXAMPLE"
SECRET = "canary-8d1f60-never-to-be-seen"
DEAD = Path("no")
"""The folder of a store that is none."""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(scope="module")
def objects() -> Generator[str]:
    with object_server() as origin:
        yield origin


@pytest.fixture
async def bucket(objects: str) -> Bucket:
    return await to_thread.run_sync(Bucket, objects)


@asynccontextmanager
async def stub(
    answer: Callable[[Asked], Reply], patience: float = 5
) -> AsyncGenerator[tuple[BlobStore, Stub]]:
    async with Stub(answer) as server:
        yield open_blobs(server.url, DEAD, patience), server


async def pieces(length: int, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, length, size):
        yield bytes(min(size, length - at))


async def take(blobs: BlobStore) -> None:
    async for _ in blobs.get("a/b"):
        pass


async def list_all(blobs: BlobStore) -> None:
    async for _ in blobs.list_keys():
        pass


async def put_small(blobs: BlobStore) -> None:
    await blobs.put("a/b", pieces(1000))


async def put_large(blobs: BlobStore) -> None:
    await blobs.put("a/b", pieces(2 * PART + 5))


async def read(blobs: BlobStore) -> None:
    await blobs.read("a/b")


async def delete(blobs: BlobStore) -> None:
    await blobs.delete(["a/b", "c"])


async def check(blobs: BlobStore) -> None:
    await blobs.check()


ACTS = (put_small, put_large, take, read, delete, list_all, check)


async def fail_everywhere(blobs: BlobStore) -> list[KaiwaError]:
    """What each act raises, all at once."""
    raised: list[KaiwaError] = []

    async def act(number: int) -> None:
        with pytest.raises(KaiwaError) as caught:
            await ACTS[number](blobs)
        raised.append(caught.value)

    with anyio.fail_after(6):
        async with anyio.create_task_group() as group:
            for number in range(len(ACTS)):
                group.start_soon(act, number)
    return raised


def assert_said(
    raised: list[KaiwaError],
    said: tuple[type[KaiwaError], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert {(type(each), each.message) for each in raised} == {said}
    for each in raised:
        assert each.__cause__ is None
        assert each.__suppress_context__
    assert SECRET not in caplog.text
    assert KEY_ID not in caplog.text
    assert "Signature" not in caplog.text


LATER = "Please try again later."
NOT_LET_IN = (BlobsForbidden, "The file storage does not let the server in.")
NOT_KNOWN = (BlobsForbidden, "The file storage does not accept the server's credentials.")
ELSEWHERE = (
    BlobsForbidden,
    "The file storage is in another region than the one that is set.",
)
OFF = (BlobsForbidden, "The server's clock differs from the one of the file storage.")
NO_BUCKET = (BlobsUnavailable, "The bucket of the file storage does not exist.")
TOO_LARGE = (BlobTooLarge, "The file storage does not take a file of this size.")
FULL = (BlobsUnavailable, f"The file storage is full. {LATER}")
BUSY = (BlobsUnavailable, f"The file storage is too busy. {LATER}")
GONE = (BlobsUnavailable, f"The file storage cannot be reached. {LATER}")
SILENT = (BlobsUnavailable, f"The file storage did not answer in time. {LATER}")
FAILURES = {
    "a forged signature": (refusal(403, "SignatureDoesNotMatch"), NOT_KNOWN),
    "no permission": (refusal(403, "AccessDenied"), NOT_LET_IN),
    "not authenticated": (reply(401), NOT_LET_IN),
    "an old token": (refusal(400, "ExpiredToken"), NOT_KNOWN),
    "a wrong clock": (refusal(403, "RequestTimeTooSkewed"), OFF),
    "another region": (reply(301), ELSEWHERE),
    "another region, said": (refusal(400, "AuthorizationHeaderMalformed"), ELSEWHERE),
    "no bucket": (refusal(404, "NoSuchBucket"), NO_BUCKET),
    "too large": (reply(413), TOO_LARGE),
    "too large, said": (refusal(400, "EntityTooLarge"), TOO_LARGE),
    "full": (reply(507), FULL),
    "busy": (refusal(503, "SlowDown"), BUSY),
    "broken": (refusal(500, "InternalError"), GONE),
    "no HTTP": (b"220 mail.example ready\r\n\r\n", GONE),
    "a reset": (b"", GONE),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_refusal_is_said_in_plain_words(failure: str, caplog: pytest.LogCaptureFixture):
    answer, said = FAILURES[failure]
    async with stub(lambda _: answer) as (blobs, _):
        assert_said(await fail_everywhere(blobs), said, caplog)


async def test_a_server_that_says_nothing_is_not_waited_for(caplog: pytest.LogCaptureFixture):
    async with stub(lambda _: None, patience=0.1) as (blobs, _):
        assert_said(await fail_everywhere(blobs), SILENT, caplog)


async def test_a_server_that_is_gone_is_noticed(caplog: pytest.LogCaptureFixture):
    blobs = open_blobs("s3://bucket?endpoint=http://127.0.0.1:1", DEAD)
    assert_said(await fail_everywhere(blobs), GONE, caplog)
    assert "http://127.0.0.1:1/bucket" in caplog.text


async def test_credentials_that_are_not_set_are_missed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    blobs = open_blobs("s3://bucket?endpoint=http://127.0.0.1:1", DEAD)
    said = (BlobsForbidden, "The server has no credentials for the file storage.")
    assert_said(await fail_everywhere(blobs), said, caplog)


async def test_credentials_nobody_knows_are_refused(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
):
    blobs = open_blobs(bucket.url, DEAD)
    await to_thread.run_sync(bucket.let_in, "0")
    try:
        raised = await fail_everywhere(blobs)
    finally:
        await to_thread.run_sync(bucket.let_in, "inf")
    assert_said(raised, NOT_KNOWN, caplog)
    assert await to_thread.run_sync(bucket.count_objects) == 0


async def test_a_bucket_that_is_not_there_is_no_missing_file(
    objects: str, caplog: pytest.LogCaptureFixture
):
    blobs = open_blobs(f"s3://no-such-bucket?endpoint={objects}", DEAD)
    assert_said(await fail_everywhere(blobs), NO_BUCKET, caplog)


async def test_a_missing_file_is_nothing_to_log(bucket: Bucket, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING), pytest.raises(NotFound):
        await open_blobs(bucket.url, DEAD).read("a/b")
    assert "File storage" not in caplog.text


# Uploads in parts


UPLOAD = reply(
    200,
    "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>a/b</Key>"
    "<UploadId>upload-7</UploadId></InitiateMultipartUploadResult>",
)


def in_parts(answer: Callable[[int], Reply]) -> Callable[[Asked], Reply]:
    """Begins and aborts uploads as S3 does; `answer` says what the part of this number gets."""

    def answer_one(asked: Asked) -> Reply:
        query = dict(parse_qsl(urlsplit(asked.target).query, keep_blank_values=True))
        if asked.method == "POST" and "uploads" in query:
            return UPLOAD
        if asked.method == "PUT" and "partNumber" in query:
            return answer(int(query["partNumber"]))
        return reply(204) if asked.method == "DELETE" else reply(500)

    return answer_one


def count_aborted(server: Stub) -> int:
    return len([each for each in server.asked if each.method == "DELETE"])


TAKEN = reply(200, ETag='"etag"')


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(403, "AccessDenied"), BlobsForbidden),
        (refusal(503, "SlowDown"), BlobsUnavailable),
        (refusal(400, "EntityTooLarge"), BlobTooLarge),
        (reply(507), BlobsUnavailable),
        (b"", BlobsUnavailable),
    ],
    ids=["forbidden", "busy", "too large", "full", "reset"],
)
async def test_an_upload_that_fails_midway_is_aborted(answer: bytes, error: type[KaiwaError]):
    def fail_second(number: int) -> Reply:
        return answer if number == 2 else TAKEN

    async with stub(in_parts(fail_second)) as (blobs, server):
        with anyio.fail_after(6), pytest.raises(error):
            await blobs.put("a/b", pieces(4 * PART))
        assert count_aborted(server) == 1
        assert not [each for each in server.asked if "partNumber=4" in each.target]


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_an_upload_is_aborted_whichever_of_its_parts_fails(number: int):
    def fail(part: int) -> Reply:
        return refusal(403, "AccessDenied") if part == number else TAKEN

    async with stub(in_parts(fail)) as (blobs, server):
        with pytest.raises(BlobsForbidden):
            await blobs.put("a/b", pieces(2 * PART + 5))
        assert len([each for each in server.asked if each.method == "PUT"]) == number
        assert count_aborted(server) == 1


async def test_an_upload_that_cannot_be_completed_is_aborted():
    async with stub(in_parts(lambda _: TAKEN)) as (blobs, server):
        with pytest.raises(BlobsUnavailable):
            await blobs.put("a/b", pieces(2 * PART + 5))
        assert count_aborted(server) == 1


async def test_a_caller_that_is_cancelled_while_a_part_is_sent_leaves_no_upload():
    sent = asyncio.Event()

    def say_nothing(number: int) -> Reply:
        sent.set()
        return None

    async with stub(in_parts(say_nothing), patience=0.1) as (blobs, server):
        with anyio.fail_after(6):
            async with anyio.create_task_group() as group:
                group.start_soon(blobs.put, "a/b", pieces(4 * PART))
                await sent.wait()
                group.cancel_scope.cancel()
        assert count_aborted(server) == 1


async def test_no_more_than_a_few_parts_are_read_ahead():
    taken = 0

    async def count() -> AsyncIterator[bytes]:
        nonlocal taken
        async for piece in pieces(20 * PART):
            taken += len(piece)
            yield piece

    async with stub(in_parts(lambda _: None), patience=0.1) as (blobs, server):
        with pytest.raises(BlobsUnavailable):
            await blobs.put("a/b", count())
        assert count_aborted(server) == 1
    assert PART < taken <= 3 * PART + 100_000


async def test_parts_are_of_one_size_and_small_files_go_in_one_request():
    def take_all(asked: Asked) -> Reply:
        if "partNumber" in asked.target or "uploads" in asked.target:
            return in_parts(lambda _: TAKEN)(asked)
        if asked.method == "POST":
            return reply(
                200,
                "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>",
            )
        return TAKEN

    async with stub(take_all) as (blobs, server):
        assert await blobs.put("a/b", pieces(2 * PART + 5, 777_777)) == 2 * PART + 5
        lengths = [len(each.body) for each in server.asked if "partNumber" in each.target]
        assert lengths == [PART, PART, 5]
        server.asked.clear()
        assert await blobs.put("a/b", pieces(PART - 1, 777_777)) == PART - 1
        assert [(each.method, len(each.body)) for each in server.asked] == [("PUT", PART - 1)]


# Lists and links


async def test_keys_are_listed_page_by_page_as_they_are_taken():
    def page(first: int, last: int, following: str) -> bytes:
        keys = "".join(
            f"<Contents><Key>a/{number:05}</Key><Size>{number}</Size><ETag>e</ETag>"
            "<LastModified>2026-11-27T00:00:00.000Z</LastModified></Contents>"
            for number in range(first, last)
        )
        token = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
        cut = "true" if following else "false"
        text = f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{token}{keys}</ListBucketResult>"
        return reply(200, text)

    def answer(asked: Asked) -> Reply:
        query = dict(parse_qsl(urlsplit(asked.target).query))
        pages = {
            "": page(0, 1000, "two"),
            "two": page(1000, 2000, "three"),
            "three": page(2000, 2500, ""),
        }
        return pages[query.get("continuation-token", "")]

    async with stub(answer) as (blobs, server):
        found: list[tuple[str, int]] = []
        asked: list[int] = []
        async for each in blobs.list_keys("a"):
            found.append(each)
            asked.append(len(server.asked))
    assert found == [(f"a/{number:05}", number) for number in range(2500)]
    assert asked[0] == 1
    assert asked[999] == 1
    assert asked[-1] == 3


async def test_more_than_a_thousand_files_are_listed_and_removed(bucket: Bucket):
    blobs = open_blobs(bucket.url, DEAD)
    keys = [f"a/{number}" for number in range(1010)]
    await to_thread.run_sync(bucket.fill, keys)
    assert {key async for key, _ in blobs.list_keys()} == set(keys)
    await blobs.delete(keys)
    assert [key async for key in blobs.list_keys()] == []


DISPOSITION = "attachment; filename=\"a b+c&d.png\"; filename*=UTF-8''%E2%82%AC%20~'.png"


async def test_a_link_answers_with_the_headers_it_was_made_for(bucket: Bucket):
    blobs = open_blobs(bucket.url, DEAD)
    data = os.urandom(100)

    async def once() -> AsyncIterator[bytes]:
        yield data

    await blobs.put("a/b.png", once())
    link = await blobs.link("a/b.png", 60, "image/png; x=y", DISPOSITION)
    assert link is not None

    def fetch() -> tuple[bytes, str | None, str | None]:
        with urllib.request.urlopen(link) as answer:
            headers = answer.headers
            return answer.read(), headers["content-type"], headers["content-disposition"]

    assert await to_thread.run_sync(fetch) == (data, "image/png; x=y", DISPOSITION)


def sign_as_boto(url: str, date: str) -> object:
    request = AWSRequest("GET", url)
    request.headers["host"] = urlsplit(url).netloc
    context: dict[str, str] = request.context  # pyright: ignore[reportUnknownMemberType]
    context["timestamp"] = date
    auth: Any = S3SigV4QueryAuth(Credentials(KEY_ID, SECRET), "s3", REGION)
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


@pytest.mark.parametrize("token", ["", "a/session+token=="])
async def test_a_link_is_signed_as_another_client_signs(
    token: str, monkeypatch: pytest.MonkeyPatch
):
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    url = f"s3://bucket/prefix?endpoint=http://127.0.0.1:1&region={REGION}"
    link = await open_blobs(url, DEAD).link("a/b-c.png", 90, "image/png", DISPOSITION)
    assert link is not None
    assert SECRET not in link
    query = dict(parse_qsl(urlsplit(link).query))
    assert query["X-Amz-Expires"] == "90"
    unsigned, signature = link.split("&X-Amz-Signature=")
    signature, _, rest = signature.partition("&")
    assert sign_as_boto(f"{unsigned}&{rest}", query["X-Amz-Date"]) == signature


async def test_a_link_lasts_no_longer_than_s3_signs_for():
    url = "s3://bucket?endpoint=http://127.0.0.1:1"
    link = await open_blobs(url, DEAD).link("a", 10_000_000, "image/png", "inline")
    assert link is not None
    assert "X-Amz-Expires=604800" in link


async def test_there_is_no_link_when_the_credentials_are_not_ours(
    monkeypatch: pytest.MonkeyPatch,
):
    blobs = open_blobs("s3://bucket?endpoint=http://127.0.0.1:1", DEAD)
    assert await blobs.link("a", 60, "image/png", "inline")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    open_to_all = open_blobs("s3://bucket?endpoint=http://127.0.0.1:1", DEAD)
    assert await open_to_all.link("a", 60, "image/png", "inline") is None
