"""What every store of files does, and what only a folder has to."""

import asyncio
import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from kaiwa.errors import BlobsForbidden, BlobsUnavailable, BlobTooLarge, NotFound, OperatorError
from kaiwa.ports import BlobStore
from kaiwa.providers.blobs.faults import explain
from kaiwa.providers.blobs.folder import Folder
from kaiwa.providers.blobs.opening import open_blobs
from kaiwa.providers.blobs.parts import PART
from tests.support.object_server import Bucket, object_server

pytestmark = pytest.mark.anyio
Run = Callable[[], Coroutine[Any, Any, None]]
SECRET = "canary-8d1f60-never-to-be-seen"


class Member:
    """A store, and whether anything is left in it that its own methods may not show."""

    def __init__(self, blobs: BlobStore, is_clean: Callable[[], bool]) -> None:
        self.blobs = blobs
        self._is_clean = is_clean

    async def is_empty(self) -> bool:
        listed = [key async for key in self.blobs.list_keys()]
        return not listed and await to_thread.run_sync(self._is_clean)


@pytest.fixture(scope="module")
def objects() -> Generator[str]:
    with object_server() as origin:
        yield origin


@pytest.fixture(params=["memory", "folder", "s3"])
async def member(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Member]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if request.param == "memory":
        yield Member(open_blobs("memory:", tmp_path), lambda: True)
    elif request.param == "folder":
        blobs = open_blobs("", tmp_path)
        yield Member(blobs, lambda: not list_files(tmp_path))
    else:
        origin: str = request.getfixturevalue("objects")
        bucket = await to_thread.run_sync(Bucket, origin)
        yield Member(
            open_blobs(bucket.url, tmp_path, 5),
            lambda: not bucket.has_unfinished() and not bucket.count_objects(),
        )


@pytest.fixture
def blobs(member: Member) -> BlobStore:
    return member.blobs


@pytest.fixture
def folder(tmp_path: Path) -> BlobStore:
    return open_blobs("", tmp_path)


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def then(error: Exception, data: bytes) -> AsyncIterator[bytes]:
    async for piece in cut(data, 100_000):
        yield piece
    raise error


async def take(blobs: BlobStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.get(key, start, end)])


# Every store


@pytest.mark.parametrize(
    ("length", "size"),
    [
        (0, 1),
        (1, 1),
        (3000, 1),
        (Folder.part - 1, 100_000),
        (Folder.part, 65536),
        (3 * Folder.part + 1, 100_000),
        (PART - 1, 65536),
        (PART, 65536),
        (PART + 1, 1_000_000),
        (2 * PART + 77, 7 * PART),
    ],
)
async def test_what_is_kept_is_given_back(blobs: BlobStore, length: int, size: int):
    data = os.urandom(length)
    assert await blobs.put("a/b/c.png", cut(data, size)) == length
    assert await blobs.read("a/b/c.png") == data
    assert await take(blobs, "a/b/c.png") == data
    assert [found async for found in blobs.list_keys()] == [("a/b/c.png", length)]


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 10), (3, 7), (3, 99), (9, None), (10, None), (50, 60), (4, 4)]
)
async def test_a_range_is_cut_out(blobs: BlobStore, start: int, end: int | None):
    await blobs.put("key", cut(b"0123456789", 3))
    assert await take(blobs, "key", start, end) == b"0123456789"[start:end]


@pytest.mark.parametrize("member", ["folder", "s3"], indirect=True)
async def test_a_large_file_comes_in_pieces(blobs: BlobStore):
    data = os.urandom(2 * PART)
    await blobs.put("key", cut(data, PART))
    sizes = [len(piece) async for piece in blobs.get("key")]
    assert sum(sizes) == len(data)
    assert max(sizes) <= 1024 * 1024


async def test_an_empty_file_has_no_pieces_and_no_range(blobs: BlobStore):
    await blobs.put("key", cut(b"", 1))
    assert await blobs.read("key") == b""
    assert await take(blobs, "key", 0, 5) == b""


async def test_what_is_not_there_is_not_found(blobs: BlobStore):
    with pytest.raises(NotFound):
        await blobs.read("a/b")
    with pytest.raises(NotFound):
        await take(blobs, "a/b")
    with pytest.raises(NotFound):
        await take(blobs, "a/b", 2, 5)


async def test_removing_passes_over_what_is_not_there(blobs: BlobStore):
    for key in ("a", "b/c", "d"):
        await blobs.put(key, cut(b"x", 1))
    await blobs.delete([])
    await blobs.delete(["no"])
    await blobs.delete(["no", "a", "b/no", "b/c", "nor"])
    assert [key async for key, _ in blobs.list_keys()] == ["d"]


async def test_keys_are_listed_below_a_prefix(blobs: BlobStore):
    sizes = {"a/b/c": 1, "a/bc": 2, "a/b/d/e": 3, "b": 4}
    for key, size in sizes.items():
        await blobs.put(key, cut(b"x" * size, size))
    assert {key: size async for key, size in blobs.list_keys()} == sizes
    assert {key async for key, _ in blobs.list_keys("a/b")} == {"a/b/c", "a/b/d/e"}
    assert {key async for key, _ in blobs.list_keys("no")} == set()


@pytest.mark.parametrize("length", [0, 10, PART, 2 * PART + 5])
async def test_nothing_is_kept_of_pieces_that_break_off(member: Member, length: int):
    cause, error = KeyError("cause"), RuntimeError("the client has left")
    error.__cause__ = cause
    with pytest.raises(RuntimeError) as caught:
        await member.blobs.put("a/b", then(error, bytes(length)))
    assert caught.value is error
    assert error.__cause__ is cause
    assert await member.is_empty()


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def _by_scope(run: Run, waiting: asyncio.Event) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await waiting.wait()
        group.cancel_scope.cancel()


async def _by_task(run: Run, waiting: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        await waiting.wait()
        task.cancel()


@pytest.mark.parametrize("length", [10, 2 * PART + 5])
@pytest.mark.parametrize("cancel", [_by_scope, _by_task])
async def test_nothing_is_kept_when_the_caller_is_cancelled(
    member: Member,
    length: int,
    cancel: Callable[[Run, asyncio.Event], Awaitable[None]],
):
    waiting = asyncio.Event()
    kept: list[int] = []

    async def stall() -> AsyncIterator[bytes]:
        yield bytes(length)
        waiting.set()
        await asyncio.Event().wait()

    async def put() -> None:
        kept.append(await member.blobs.put("a/b", stall()))

    await cancel(put, waiting)
    assert kept == []
    assert await member.is_empty()


@pytest.mark.parametrize(
    "key",
    [
        *("", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a b", "é", "a\\b", "a\n", "a#1"),
        *("%2e", "a" * 501),
    ],
)
async def test_what_is_no_key_is_refused(key: str, folder: BlobStore):
    with pytest.raises(ValueError):
        await folder.put(key, cut(b"x", 1))
    with pytest.raises(ValueError):
        await folder.read(key)
    with pytest.raises(ValueError):
        await take(folder, key)
    with pytest.raises(ValueError):
        await folder.delete(["a", key])
    with pytest.raises(ValueError):
        await folder.link(key, 60, "text/plain", "inline")
    if key:
        with pytest.raises(ValueError):
            _ = [found async for found in folder.list_keys(key)]


async def test_a_check_leaves_nothing(member: Member):
    await member.blobs.check()
    assert await member.is_empty()


async def test_many_files_are_kept_at_once(blobs: BlobStore):
    data = {f"a/{n}": os.urandom(1000 * n) for n in range(20)}
    async with anyio.create_task_group() as group:
        for key, content in data.items():
            group.start_soon(blobs.put, key, cut(content, 999))
    assert {key: await blobs.read(key) for key in data} == data


# A folder


async def test_a_file_is_on_the_disk_when_it_is_kept(
    folder: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced: list[str] = []
    fsync = os.fsync

    def record(number: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{number}"))
        fsync(number)

    monkeypatch.setattr(os, "fsync", record)
    await folder.put("a/b/c", cut(b"x", 1))
    root = tmp_path / "files"
    assert synced == [str(root / path) for path in ("a/b/c", "a/b", "a", "")]


async def test_a_file_that_does_not_reach_the_disk_is_not_kept(
    folder: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BlobsUnavailable, match=r"^The file storage is full\."):
        await folder.put("a/b", cut(b"x", 1))
    assert list_files(tmp_path) == []


async def test_a_folder_that_has_gone_is_not_made_anew(folder: BlobStore, tmp_path: Path):
    await folder.put("a", cut(b"x", 1))
    shutil.rmtree(tmp_path / "files")
    sentence = "^The folder of the file storage is not there.$"
    for failing in (
        folder.put("b", cut(b"x", 1)),
        folder.read("a"),
        folder.delete(["a"]),
        folder.check(),
    ):
        with pytest.raises(BlobsUnavailable, match=sentence):
            await failing
    with pytest.raises(BlobsUnavailable, match=sentence):
        await take(folder, "a")
    with pytest.raises(BlobsUnavailable, match=sentence):
        _ = [found async for found in folder.list_keys()]
    assert not (tmp_path / "files").exists()


async def test_a_name_that_is_taken_by_a_file_fails_in_order(folder: BlobStore, tmp_path: Path):
    await folder.put("a", cut(b"x", 1))
    with pytest.raises(BlobsUnavailable):
        await folder.put("a/b", cut(b"x", 1))
    assert await folder.read("a") == b"x"


async def test_what_a_dead_process_left_is_removed_once_it_is_old(
    folder: BlobStore, tmp_path: Path
):
    await folder.put("a/kept", cut(b"x", 1))
    old, new = tmp_path / "files/a/old#1", tmp_path / "files/a/new#2"
    for path in (old, new, tmp_path / "files/a/kept"):
        path.write_bytes(b"half")
        if path is not new:
            os.utime(path, (0, 0))
    assert [key async for key, _ in folder.list_keys()] == ["a/kept"]
    assert await folder.tidy(datetime.now(UTC) - timedelta(days=1)) == 1
    assert not old.exists()
    assert new.exists()
    assert await folder.read("a/kept") == b"half"


_ON_A_SMALL_DISK = """
import asyncio, subprocess, sys
from pathlib import Path
from kaiwa.errors import KaiwaError
from kaiwa.providers.blobs.opening import open_blobs

async def pieces(length):
    for _ in range(length // 1000):
        yield bytes(1000)

async def put(blobs, key, length):
    try:
        print(await blobs.put(key, pieces(length)))
    except KaiwaError as error:
        print(error.code, error.message)

async def main(folder):
    blobs = open_blobs("", folder)
    await put(blobs, "a", 100_000)
    await put(blobs, "b", 3_000_000)
    await put(blobs, "c", 13_000_000)
    await put(blobs, "d", 100_000)
    print(sorted(path.name for path in folder.rglob("*") if path.is_file()))
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    await put(blobs, "e", 1000)

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
asyncio.run(main(folder))
"""


def _can_unshare() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and not subprocess.run([unshare, "-Urm", "true"]).returncode


@pytest.mark.skipif(not _can_unshare(), reason="mounts need a namespace of their own")
async def test_a_full_disk_and_one_that_cannot_be_written_are_named(tmp_path: Path):
    command = ["unshare", "-Urm", sys.executable, "-c", _ON_A_SMALL_DISK, str(tmp_path)]
    done = await anyio.run_process(command, stderr=None)
    assert done.stdout.decode().splitlines() == [
        "100000",
        "s3_connection_failed The file storage is full. Please try again later.",
        "s3_connection_failed The file storage is full. Please try again later.",
        "100000",
        "['a', 'd']",
        "s3_permission_denied The folder of the file storage is read-only.",
    ]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, BlobsUnavailable),
        (errno.EDQUOT, BlobsUnavailable),
        (errno.EFBIG, BlobTooLarge),
        (errno.EACCES, BlobsForbidden),
        (errno.EPERM, BlobsForbidden),
        (errno.EROFS, BlobsForbidden),
        (errno.EIO, BlobsUnavailable),
    ],
)
def test_what_a_file_system_says_is_understood(number: int, error: type[Exception]):
    assert type(explain(OSError(number, "no"))) is error
    assert type(explain(OSError(f"Unable to copy data to file: no (os error {number})"))) is error


# Opening


def _read(url: str, tmp_path: Path) -> str:
    with pytest.raises(OperatorError) as caught:
        open_blobs(url, tmp_path)
    sentence = str(caught.value)
    assert SECRET not in sentence
    assert re.fullmatch(r"[A-Z][^\n]*\.", sentence)
    return sentence


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"/srv/{SECRET}", "has to be one of"),
        (f"ftp://{SECRET}", "has to be one of"),
        ("memory:x", "has to be one of"),
        ("file:relative", "has to be one of"),
        ("file://host/folder", "has to be one of"),
        ("s3:///prefix", "names no bucket"),
        (f"s3://key:{SECRET}@bucket", "may not hold credentials"),
        ("s3://bucket:900", "may not hold credentials or a port"),
        ("s3://bucket:port", "not valid"),
        ("s3://[bucket", "not valid"),
        (f"s3://bucket?secret_access_key={SECRET}", "may not hold secret_access_key="),
        ("s3://bucket?endpoint=minio:9000", "endpoint= has to be a URL"),
        ("gs://bucket?endpoint=http://x", "it takes base_url,"),
        ("az://container", "cannot be opened"),
        ("file:///no/such/folder", "/no/such/folder, does not exist"),
    ],
)
async def test_a_wrong_address_is_said_in_one_sentence(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    assert words in _read(url, tmp_path)


async def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "files").write_bytes(b"")
    assert str(tmp_path / "files") in _read("", tmp_path)


async def test_a_folder_can_be_anywhere(tmp_path: Path):
    place = tmp_path / "my files"
    place.mkdir()
    blobs = open_blobs(f"file://{tmp_path}/my%20files", tmp_path / "no")
    await blobs.put("a", cut(b"x", 1))
    assert (place / "a").read_bytes() == b"x"
    assert await blobs.link("a", 60, "text/plain", "inline") is None


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        ("s3://bucket?endpoint=http://127.0.0.1:1", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:2"}),
        ("s3://bucket", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
        ("gs://bucket?base_url=http://127.0.0.1:1", {"GOOGLE_BEARER_TOKEN": SECRET}),
        (
            "az://container/prefix?endpoint=http://127.0.0.1:1&account_name=me",
            {"AZURE_STORAGE_ACCOUNT_KEY": "bm8="},
        ),
    ],
)
async def test_each_cloud_is_asked_where_the_address_says(
    url: str,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    keys: dict[str, Any] = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
    for name, value in (keys | environment).items():
        monkeypatch.setenv(name, value)
    blobs = open_blobs(url, tmp_path)
    with anyio.fail_after(5), pytest.raises(BlobsUnavailable, match="cannot be reached"):
        await blobs.put("key", cut(b"x", 1))
    assert "http://127.0.0.1:1/" in caplog.text
