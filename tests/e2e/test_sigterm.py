"""R8: a server that is told to end refuses what is new, ends what is live, and keeps all of it.

KAIWA_TORTURE=N tells it N/10 times on each engine instead of once, with 200 streams instead of 50.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import psutil
import pytest
from aiohttp import ClientSession, TCPConnector

import kaiwa
from tests.e2e.process import Process, make_key, serving, starting
from tests.e2e.torture import TORTURE, Kept, Tally, rounds
from tests.e2e.traffic import Heard, listen, numbered, stored
from tests.support.apps import app_file, says
from tests.support.client import Client
from tests.support.sound import require_espeak

STREAMS = 200 if TORTURE else 50
DRAIN = 2.5
AFTERWARDS = 4
"""Seconds that the end itself may take, beyond the drain."""
SHORT = numbered(60)
ENDLESS = numbered(5000)
PACE = 0.02


class Listeners:
    """Many live streams, each of a user of its own."""

    def __init__(self, url: str, keys: list[str]) -> None:
        self.url = f"{url}/v1"
        self.heard: list[tuple[str, Heard]] = []
        self._keys = keys

    async def listen(self, session: ClientSession, number: int) -> None:
        key = self._keys[number % len(self._keys)]
        client = Client(session, self.url, key, f"user {number}")
        heard = Heard(client.user)
        self.heard.append((key, heard))
        await listen(client, "count", heard)

    def all_hear(self) -> bool:
        """Whether every stream has begun to speak."""
        return len(self.heard) == STREAMS and all(heard.pieces for _, heard in self.heard)


async def until(reached: Callable[[], object], seconds: float = 15) -> None:
    with anyio.fail_after(seconds):
        while not reached():  # noqa: ASYNC110 - what is waited for sets no event
            await anyio.sleep(0.02)


async def listen_to_the_end(process: Process, keys: list[str]) -> Listeners:
    """Send SIGTERM to a server that speaks on all streams."""
    listeners = Listeners(process.url, keys)
    async with (
        ClientSession(connector=TCPConnector(limit=0)) as session,
        anyio.create_task_group() as tasks,
    ):
        for number in range(STREAMS):
            tasks.start_soon(listeners.listen, session, number)
        await until(listeners.all_hear)
        process.send(signal.SIGTERM)
        await anyio.sleep(0.3)
        late = Heard("late")
        await listen(Client(session, listeners.url, keys[0], "late"), "count", late)
        assert late.status == 503
        async with session.get(f"{process.url}/readyz") as response:
            assert response.status == 503
        async with session.get(f"{process.url}/healthz") as response:
            assert response.status == 200
    return listeners


async def check_kept(process: Process, listeners: Listeners) -> None:
    async with ClientSession() as session:
        for key, heard in listeners.heard:
            client = Client(session, f"{process.url}/v1", key, heard.user)
            assert (await stored(client, heard))["answer"] == heard.text


def check_ends(listeners: Listeners, brief: str, endless: str, tally: Tally) -> None:
    assert not any(heard.broken for _, heard in listeners.heard)
    ends = Counter((key, *heard.ends) for key, heard in listeners.heard)
    assert set(ends) <= {(brief, "message_end"), (brief, "error"), (endless, "error")}
    assert ends[brief, "message_end"] >= 1
    assert ends[endless, "error"] == STREAMS / 2
    for _, heard in listeners.heard:
        assert heard.text == SHORT or heard.ends == ["error"]
    tally.strikes += 1
    tally.answers += STREAMS
    tally.cut += ends[brief, "error"] + ends[endless, "error"]


@pytest.mark.torture
def test_sigterm_ends_every_stream_and_loses_nothing(
    tmp_path: Path, database_url: str, request: pytest.FixtureRequest
) -> None:
    apps = (app_file(says(text=text, pace=PACE)) for text in (SHORT, ENDLESS))
    brief, endless = (make_key(tmp_path, app, database_url) for app in apps)
    kept = Kept(tmp_path, database_url)
    tally = Tally(f"SIGTERM, {'PostgreSQL' if database_url else 'SQLite'}")
    for _ in range(rounds(1, share=10)):
        with serving(tmp_path, drain_timeout=DRAIN, database_url=database_url) as process:
            started_at = time.monotonic()
            listeners = anyio.run(listen_to_the_end, process, [brief, endless])
            assert process.wait() == 0
            assert time.monotonic() - started_at < DRAIN + AFTERWARDS + 5
            assert process.answers() == 0
            assert "Traceback" not in process.stderr()
            assert "stopping" in process.stderr()
        own = [] if database_url else ["kaiwa.db"]  # the log beside it has been taken in
        assert sorted(file.name for file in tmp_path.glob("data/*")) == [
            "files",
            *own,
            "secret.key",
        ]
        assert set(kept.outcomes()) == {"normal", "interrupted"}
        check_ends(listeners, brief, endless, tally)
        with serving(tmp_path, database_url=database_url) as process:
            anyio.run(check_kept, process, listeners)
    tally.report(request)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as process:
        asked_at = time.monotonic()
        process.send(number)
        assert process.wait() == 0
        assert time.monotonic() - asked_at < 3
        assert process.stderr() == ""
    left = sorted(file.name for file in process.data.iterdir())
    assert left == ["files", "kaiwa.db", "secret.key"]


async def interrupt_twice(process: Process, key: str) -> Heard:
    heard = Heard("me")
    async with ClientSession() as session, anyio.create_task_group() as tasks:
        client = Client(session, f"{process.url}/v1", key, "me")
        tasks.start_soon(listen, client, "count", heard)
        await until(lambda: heard.pieces)
        process.send(signal.SIGINT)
        await anyio.sleep(0.5)
        assert not heard.ends
        process.send(signal.SIGINT)
    return heard


def test_a_second_ctrl_c_ends_the_answers_at_once(tmp_path: Path) -> None:
    key = make_key(tmp_path, app_file(says(text=ENDLESS, pace=PACE), name="Endless"))
    with serving(tmp_path, drain_timeout=60) as process:
        heard = anyio.run(interrupt_twice, process, key)
        assert process.wait(AFTERWARDS) == 0
        assert heard.ends == ["error"]
        assert "Traceback" not in process.stderr()
    with serving(tmp_path) as process:
        listeners = Listeners(process.url, [key])
        listeners.heard.append((key, heard))
        anyio.run(check_kept, process, listeners)


async def read_nothing(process: Process, key: str) -> None:
    """Ask for much, take none of it, and tell the server to end."""
    async with ClientSession(read_bufsize=1024) as session:
        client = Client(session, f"{process.url}/v1", key, "deaf")
        async with client.streaming("count"):
            await anyio.sleep(1)
            process.send(signal.SIGTERM)
            await until(lambda: process.popen.poll() is not None, 0.5 + 2 * AFTERWARDS)


def test_a_client_that_takes_nothing_does_not_hold_the_server(tmp_path: Path) -> None:
    flood = {"repeat": {"text": "x" * 10_000, "times": 5_000}}
    key = make_key(tmp_path, app_file(flood, name="Flood"))
    with serving(tmp_path, drain_timeout=0.5, write_timeout=60) as process:
        anyio.run(read_nothing, process, key)
        assert process.wait() == 0
        assert "Traceback" not in process.stderr()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.1, 0.6])
def test_a_signal_while_it_starts_leaves_no_trace(
    tmp_path: Path, number: signal.Signals, seconds: float
) -> None:
    with starting(tmp_path) as process:
        time.sleep(seconds)
        process.send(number)
        assert process.wait() in (0, 1, -number)
        # Before our first line, a Ctrl-C is Python's own.
        assert str(Path(kaiwa.__file__).parent) not in process.stderr()


async def hear_audio_and_end(process: Process, key: str) -> list[int]:
    """Send SIGTERM to a server that speaks an answer; the voices that were at work then."""
    voices: set[int] = set()
    async with ClientSession() as session:
        client = Client(session, f"{process.url}/v1", key, "me")
        async with client.streaming("count") as stream:
            heard: list[str] = []
            async for frame in stream.frames():
                heard.append(frame.event)
                if heard.count("tts_message") == 2:
                    process.send(signal.SIGTERM)
                voices |= {child.pid for child in psutil.Process(process.popen.pid).children()}
    assert heard.count("tts_message") >= 2
    assert heard.count("error") == 1
    return sorted(voices)


def test_voices_end_with_the_server(tmp_path: Path) -> None:
    require_espeak()
    speech = {"enabled": True, "autoPlay": "enabled"}
    text = "This is a sentence of some words that goes on. " * 500
    app = app_file(says(text=text, pace=0.01), text_to_speech=speech)
    with serving(tmp_path, speech_model="espeak", drain_timeout=0.5) as process:
        key = make_key(tmp_path, app)
        voices = anyio.run(hear_audio_and_end, process, key)
        assert process.wait() == 0
        assert "Traceback" not in process.stderr()
    assert voices
    assert not [pid for pid in voices if psutil.pid_exists(pid)]
