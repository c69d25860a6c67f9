"""A server of tools that runs as a child process of ours and speaks over its pipes.

A child that floods us is left. None outlives the block that started it, nor do its own children.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final

import anyio
from anyio.abc import Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest, jsonrpc_message_adapter
from msgspec import Struct, json

from kaiwa.providers.tools.mcp_flood import MOST, weigh

Incoming = SessionMessage | Exception

_WINDOW: Final = 60.0
_TAIL: Final = 2000
_LEAVING: Final = 2.0
_POLL: Final = 0.02
_BROKEN: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class _Head(Struct):
    """Tells quickly what need not be read."""

    id: object = None


class Child:
    """The process; an async context manager that gives the streams an MCP client works on."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], over: anyio.Event
    ) -> None:
        """`over` is set when nothing more will come from it."""
        self._command = command
        self._environment = environment
        self._over = over
        self._open = AsyncExitStack()
        self._process: Process | None = None
        self._received = 0
        self._counted_since = 0.0
        self._errors = b""
        self.flooded = False

    @property
    def ended(self) -> bool:
        """Whether it has; its own children may still hold the pipes open."""
        return self._process is not None and self._process.returncode is not None

    @property
    def last_words(self) -> str:
        """The last line it wrote to its standard error; may be empty."""
        lines = self._errors.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    async def __aenter__(
        self,
    ) -> tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]:
        """Raises `OSError` when it cannot be started."""
        process = self._process = await anyio.open_process(
            self._command,
            env=self._environment,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that its children can be found, and Ctrl-C is ours alone
        )
        # Nothing is awaited between here and the stop's being on the stack.
        self._open.push_async_callback(self._stop, process)
        incoming, read = anyio.create_memory_object_stream[Incoming]()
        write, outgoing = anyio.create_memory_object_stream[SessionMessage]()
        for stream in (incoming, read, write, outgoing):
            self._open.callback(stream.close)
        tasks = anyio.create_task_group()
        try:
            await self._open.enter_async_context(tasks)
            self._open.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(self._read, process, incoming)
            tasks.start_soon(self._write, process, outgoing)
            tasks.start_soon(self._listen, process)
        except BaseException:
            await self._open.aclose()
            raise
        return read, write

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def _read(self, process: Process, incoming: MemoryObjectSendStream[Incoming]) -> None:
        assert process.stdout is not None
        begun: list[bytes] = []
        try:
            with suppress(*_BROKEN):
                while not self._is_flood(chunk := await process.stdout.receive()):
                    first, *others = chunk.split(b"\n")
                    begun.append(first)
                    for other in others:
                        if message := _parse(b"".join(begun)):
                            await incoming.send(message)
                        begun = [other]
        finally:
            incoming.close()
            self._over.set()

    def _is_flood(self, chunk: bytes) -> bool:
        now = anyio.current_time()
        if now - self._counted_since > _WINDOW:
            self._received, self._counted_since = 0, now
        self._received += weigh(chunk)
        self.flooded = self._received > MOST
        return self.flooded

    async def _write(
        self, process: Process, outgoing: MemoryObjectReceiveStream[SessionMessage]
    ) -> None:
        assert process.stdin is not None
        with suppress(*_BROKEN):
            async for message in outgoing:
                if isinstance(message.message, JSONRPCRequest):
                    self._received = 0  # what comes next was asked for
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(line.encode() + b"\n")
        outgoing.close()
        self._over.set()

    async def _listen(self, process: Process) -> None:
        assert process.stderr is not None
        with suppress(*_BROKEN):
            while True:
                self._errors = (self._errors + await process.stderr.receive())[-_TAIL:]

    async def _stop(self, process: Process) -> None:
        """Ask it to end, and see to it: by closing its input, by a signal, by force."""
        with anyio.CancelScope(shield=True):
            if process.stdin is not None:
                with suppress(*_BROKEN):
                    await process.stdin.aclose()
            if not await _has_ended(process):
                _signal(process, signal.SIGTERM)
                await _has_ended(process)
            _signal(process, signal.SIGKILL)
            with anyio.move_on_after(_LEAVING):
                await process.aclose()


async def _has_ended(process: Process) -> bool:
    """Not by `wait`, which also waits for the pipes that its children may hold."""
    with anyio.move_on_after(_LEAVING):
        while process.returncode is None:  # noqa: ASYNC110 # there is no event for it
            await anyio.sleep(_POLL)
    return process.returncode is not None


def _signal(process: Process, number: signal.Signals) -> None:
    """To all of its group, which may outlive it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _parse(line: bytes) -> SessionMessage | None:
    """None for what is no JSON, and for notifications: there is nobody to hear them."""
    if not line.startswith(b"{"):
        return None
    try:
        if json.decode(line, type=_Head).id is None:
            return None
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except (ValueError, RecursionError):  # msgspec's and pydantic's errors are the former
        return None
