"""The event-stream parser: the standard's framing, any split, bounded memory."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.domain.sse import SseEvent, SseFault, SseParser


def parse(chunks: list[bytes], limit: int = 1 << 20) -> tuple[list[SseEvent], str]:
    """The events of all chunks, and the sentence of the fault that ended them."""
    parser, events = SseParser(limit), list[SseEvent]()
    try:
        for chunk in chunks:
            events += parser.feed(chunk)
        events += parser.finish()
    except SseFault as fault:
        return [*events, *fault.events], str(fault)
    return events, ""


def message(data: str) -> SseEvent:
    return SseEvent("message", data.encode())


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", [message("a")]),
        (b"data:a\n\ndata: b\n\n", [message("a"), message("b")]),
        (b"data:  a\n\n", [message(" a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [message("a"), message("b"), message("c")]),
        (b"\xef\xbb\xbfdata: a\n\n", [message("a")]),
        (b": ping\n\n:\n\ndata: a\n\n", [message("a")]),
        (b"data: a\ndata: b\ndata:\n\n", [message("a\nb\n")]),
        (b"data\n\n", [message("")]),
        (b"event: ping\ndata: {}\n\n", [SseEvent("ping", b"{}")]),
        (b"event: ping\n\ndata: a\n\n", [message("a")]),
        (b"id: 1\nretry: 5\ndataset: x\nnonsense\n\n", []),
        ("data: 世界😀\n\n".encode(), [message("世界😀")]),
        (b"data: [DONE]", [message("[DONE]")]),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_the_framing_of_the_standard(stream: bytes, expected: list[SseEvent]) -> None:
    assert parse([stream]) == (expected, "")


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\n\r") == [message("a")]
    assert parser.feed(b"\ndata: b\n\nda") == [message("b")]
    assert parser.feed(b"ta: c\n\n") == [message("c")]


def test_bytes_that_are_no_text_are_their_readers_business() -> None:
    assert parse([b"data: \xff\n\nevent: \xff\ndata: a\n\n"]) == (
        [SseEvent("message", b"\xff"), SseEvent("\ufffd", b"a")],
        "",
    )


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: 123456789"],
        [b"data: ", b"12345", b"6789"],
        [b"data: 1234\ndata: 567890\n\n"],
        [b": 1234567890123\n\n"],
    ],
)
def test_an_endless_line_or_event_is_a_fault(chunks: list[bytes]) -> None:
    events, sentence = parse(chunks, limit=10)
    assert events == []
    assert sentence == "a line or an event is longer than 10 bytes"


_LINES = st.sampled_from(
    [
        b"data: one",
        "data: 二つ😀".encode(),
        b"data",
        b"data: \xff\xfe",
        b"event: ping",
        b": comment",
        b"",
        b"\xef\xbb\xbf",
        b"data: 0123456789012345678901234567890123456789",
    ]
)
_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"])


@given(
    lines=st.lists(st.tuples(_LINES, _ENDS), max_size=12),
    cuts=st.lists(st.integers(0, 300), max_size=12),
    limit=st.sampled_from([30, 60, 1 << 20]),
)
def test_any_split_gives_the_same_events(
    lines: list[tuple[bytes, bytes]], cuts: list[int], limit: int
) -> None:
    stream = b"".join(line + end for line, end in lines)
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    whole = parse([stream], limit)
    assert parse(pieces, limit) == whole
    assert parse([stream[i : i + 1] for i in range(len(stream))], limit) == whole
