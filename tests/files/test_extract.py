"""Documents read by real child processes: friendly ones, broken ones, and attacks."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from kaiwa.domain.file import StoredFile
from kaiwa.domain.text import count_tokens
from kaiwa.errors import FileTooLarge, KaiwaError, NotFound, UnsupportedFileType
from kaiwa.files.extract import Extracted, Extractor, is_readable
from kaiwa.files.kinds import Kind
from kaiwa.files.parsers.wire import Limits
from kaiwa.providers.blobs.opening import open_blobs
from tests.files.documents import (
    HANGING,
    make_docx,
    make_entity_bomb,
    make_epub,
    make_locked_pdf,
    make_mail,
    make_pdf,
    make_plain_docx,
    make_pptx,
    make_xlsx,
    make_zip,
)

pytestmark = pytest.mark.anyio

_AT = datetime(2026, 1, 2, tzinfo=UTC)
JAPANESE = "これはテストのための日本語の文章です。漢字とカタカナが入っています。"
CHINESE = "这是一个用于测试的中文文本，里面有一些常见的汉字和标点符号。今天天气很好。"
TAIWANESE = "這是一個用於測試的中文文本，裡面有一些常見的漢字和標點符號。今天天氣很好。"
PAGE = b"""<!doctype html><html><head><title>A  page</title><style>p{}</style></head><body>
<nav>menu</nav><script>alert(1)</script><p>Hello <b>wor</b>ld
 again</p>bare<div>a<br>b</div><table><tr><td>1</td><td>2</td></tr><tr><td>3<td>4</table>
<p hidden>unseen</p><ul><li>one<li>two</ul><footer>small print</footer></body></html>"""


def kind(extension: str) -> Kind:
    return Kind("document", extension, "application/octet-stream")


async def extract(data: bytes, extension: str, limits: Limits | None = None) -> Extracted:
    return await Extractor(limits or Limits()).extract(data, kind(extension))


async def refusal(data: bytes, extension: str, limits: Limits | None = None) -> KaiwaError:
    with pytest.raises(KaiwaError) as refused:
        await extract(data, extension, limits)
    return refused.value


def children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [int(pid) for path in found for pid in path.read_text().split()]
    return [pid for pid in pids if "parsers.child" in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.parametrize(
    ("data", "extension", "text", "pages"),
    [
        (
            make_docx(),
            "docx",
            "Order helper\nBefore the table.\nThing\tPrice\nTea\t3 4\nin side\n"
            "After the table: 世界.",
            None,
        ),
        (make_pptx(), "pptx", "First\none\ntwo\nSay hello.\n\nleft\tright", 2),
        (
            make_xlsx(),
            "xlsx",
            "Prices\nThing\tPrice\nTea and cake\t3\n\t\t1.5\n\nDays\n2024-05-06",
            None,
        ),
        (make_pdf(["Hello, world", "page two"]), "pdf", "Hello, world\n\npage two", 2),
        (PAGE, "html", "A page\nHello world again\nbare\na\nb\n1\t2\n3\t4\none\ntwo", None),
        (
            make_epub({"1": "<p>the end</p>", "2": "<p>the <i>begin</i>ning</p>"}),
            "epub",
            "the beginning\n\nthe end",
            None,
        ),
        (
            make_mail(),
            "eml",
            "Subject: Grüße\nFrom: Ann <ann@example.org>\nTo: bob@example.org\n\n"
            "Hello Bob, ça va?\n\nAttachment: plan.bin",
            None,
        ),
        (
            b"Subject: a\nContent-Type: text/html\n\n<p>Hello</p>",
            "eml",
            "Subject: a\n\nHello",
            None,
        ),
        (b'{"a": 1}', "json", '{"a": 1}', None),
        (b"a,b\r\n1,2\r\n", "csv", "a,b\n1,2", None),
        (b"# A\n\n* b", "md", "# A\n\n* b", None),
    ],
)
async def test_the_text_of_a_document_is_read_in_order(
    data: bytes, extension: str, text: str, pages: int | None
):
    found = await extract(data, extension)
    assert found.text == text
    assert found.pages == pages
    assert found.characters == len(found.text)
    assert found.tokens == count_tokens(found.text)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "utf-16"),
        (CHINESE, "gb18030"),
        (TAIWANESE, "big5"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        ("Voilà un été très agréable, façade à côté", "windows-1252"),
    ],
)
async def test_text_is_read_whatever_its_encoding(text: str, encoding: str):
    assert (await extract(text.encode(encoding), "txt")).text == text


async def test_the_encoding_a_page_declares_is_believed():
    page = f"<meta charset='shift_jis'><p>{JAPANESE}</p>".encode("shift_jis")
    assert (await extract(page, "htm")).text == JAPANESE


async def test_what_older_programs_would_show_instead_is_not_read_twice():
    body = (
        "<document><p><r><t>once</t></r><AlternateContent><Choice><t>, only</t></Choice>"
        "<Fallback><tr><tc><p><t>, twice</t></p></tc></tr></Fallback></AlternateContent></p>"
        "<p><tabs><tab pos='7'/></tabs><t>more</t><tab/><t>!</t></p></document>"
    )
    assert (await extract(make_plain_docx(body), "docx")).text == "once, only\nmore\t!"


@pytest.mark.parametrize(
    ("data", "extension", "sentence"),
    [
        (b"%PDF-1.7 nothing", "pdf", "The document is broken."),
        (make_docx()[:-3000], "docx", "The document is broken."),
        (make_zip({"a.exe": b"MZ"}), "docx", "The document is broken."),
        (make_plain_docx("<document><p><t>a"), "docx", "The document is broken."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "xls", "The document is broken."),
        (make_zip({"a": ""}), "epub", "The document is broken."),
        (b"hello", "eml", "The document is broken."),
        (make_locked_pdf(), "pdf", "The document is protected by a password."),
        (
            make_epub({"1": "x"}, {"META-INF/encryption.xml": '<e><CipherReference URI="b/text/'
             '1.xhtml"/></e>'}),
            "epub",
            "The book is protected against being copied.",
        ),
        (make_pdf(["", ""]), "pdf", "There is no text in the document; it may be a scan."),
        (b" \n\0", "txt", "There is no text in the document."),
        (b"<script>1</script>", "html", "There is no text in the document."),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused_with_the_reason(
    data: bytes, extension: str, sentence: str
):
    refused = await refusal(data, extension)
    assert isinstance(refused, UnsupportedFileType)
    assert refused.message == sentence


async def test_a_kind_that_cannot_be_read_starts_no_process():
    assert (await refusal(b"\xd0", "doc")).message == "The text of a .doc file cannot be read."
    assert not is_readable(kind("doc"))
    assert not is_readable(Kind("custom", "txt", "text/plain"))
    assert is_readable(kind("pdf"))


@pytest.mark.parametrize("extension", ["docx", "pptx", "xlsx", "epub"])
async def test_an_archive_too_large_when_unpacked_is_not_opened(extension: str):
    bomb = make_zip({"[Content_Types].xml": b"a" * 3_000_000, "b": b"a" * 3_000_000})
    refused = await refusal(bomb, extension, Limits(unpacked=5_000_000))
    assert isinstance(refused, FileTooLarge)
    assert refused.message == "The document is too large when it is unpacked."


async def test_text_that_is_too_long_is_refused():
    limits = Limits(text=2_000_000)
    assert (await extract(b"a" * 2_000_000, "txt", limits)).characters == 2_000_000
    refused = await refusal("é".encode() * 1_000_001, "txt", limits)
    assert isinstance(refused, FileTooLarge)
    assert refused.message == "The text of the document is longer than 2 MB."


async def test_a_document_much_larger_than_a_pipe_arrives_whole():
    words = "数字 ".encode() * 1_000_000
    assert (await extract(words, "txt")).characters == 3_000_000 - 1


async def test_entities_that_multiply_do_no_harm():
    refused = await refusal(make_entity_bomb(), "docx", Limits(seconds=10))
    assert refused.message == "The document is broken."


async def test_a_sheet_that_is_said_to_be_endless_ends_the_child_alone():
    refused = await refusal(make_xlsx(1_048_575, 16_383), "xlsx")
    assert refused.message == "The document is broken, or needs too much memory to be read."


async def test_a_document_that_eats_memory_is_refused():
    book = make_epub({"1": "<p>" + "a " * 60_000_000})
    refused = await refusal(book, "epub", Limits(memory=400_000_000))
    assert "needs too much memory to be read" in refused.message


async def test_a_document_too_large_for_memory_is_refused():
    refused = await refusal(b"a" * 30_000_000, "txt", Limits(memory=50_000_000))
    assert refused.message == "The document needs too much memory to be read."


async def test_a_document_that_hangs_its_parser_is_given_up_in_time():
    began = time.monotonic()
    refused = await refusal(HANGING, "html", Limits(seconds=0.7))
    assert refused.message == "Reading the document took too long."
    assert 0.7 <= time.monotonic() - began < 2
    assert children(os.getpid()) == []


@pytest.mark.parametrize("after", [0, 0.005, 0.5])
async def test_no_child_stays_behind_when_the_reader_is_cancelled(after: float):
    began = time.monotonic()
    with anyio.move_on_after(after) as scope:
        await extract(HANGING, "html")
    assert scope.cancelled_caught
    assert time.monotonic() - began < after + 1
    assert children(os.getpid()) == []


async def test_no_more_than_so_many_are_read_at_once():
    extractor = Extractor(Limits(seconds=0.5), at_once=2)

    async def hang() -> None:
        with pytest.raises(UnsupportedFileType, match="took too long"):
            await extractor.extract(HANGING, kind("html"))

    began = time.monotonic()
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(hang)
    assert 1 <= time.monotonic() - began < 2
    assert (await extractor.extract(b"free again", kind("txt"))).text == "free again"


async def test_what_was_read_lately_is_not_read_again(tmp_path: Path):
    blobs, extractor = open_blobs("", tmp_path), Extractor(Limits(), remembered=10)
    files = [
        StoredFile(
            uuid4(), uuid4(), "a.txt", 4, "txt", "text/plain", "document", f"{name}.txt", _AT
        )
        for name in ("one", "two", "more")
    ]
    for file in files:
        await blobs.put(file.key, once(file.key[:4].encode()))
    one, two, more = files
    for file in (one, two, one, more):  # the third puts out the one that was longest not asked for
        assert (await extractor.read(file, blobs)).text == file.key[:4]
    await blobs.delete([file.key for file in files])
    for file in (one, more):
        assert (await extractor.read(file, blobs)).text == file.key[:4]
    with pytest.raises(NotFound):
        await extractor.read(two, blobs)


async def once(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


SERVER = """
import anyio, sys
from kaiwa.files.extract import Extractor
from kaiwa.files.kinds import Kind
from kaiwa.files.parsers.wire import Limits
from tests.files.documents import HANGING
print("ready", flush=True)
anyio.run(Extractor(Limits()).extract, HANGING, Kind("document", "html", "text/html"))
"""


def test_a_child_is_limited_knows_no_secrets_and_dies_with_its_server():
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENAI_API_KEY": "sk-1"}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            child = limited_child(server.pid)
            assert b"sk-1" in Path(f"/proc/{server.pid}/environ").read_bytes()
            assert b"sk-1" not in Path(f"/proc/{child}/environ").read_bytes()
            watch = os.pidfd_open(child)
        finally:
            server.send_signal(signal.SIGKILL)
        assert select.select([watch], [], [], 10)[0]
        os.close(watch)


def limited_child(server: int) -> int:
    """The server's child, as soon as it has limited itself to a gigabyte and no file."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for pid in children(server):
            limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
            values = {line[:26].strip(): line[26:].split()[0] for line in limits}
            if values["Max open files"] == "32":
                assert values["Max address space"] == str(1 << 30)
                assert values["Max file size"] == "0"
                return pid
        os.sched_yield()
    raise AssertionError("no child has limited itself")
