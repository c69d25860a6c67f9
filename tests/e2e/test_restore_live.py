"""A restore in the midst of answers: each stream ends, and the server goes on with what is new."""

from pathlib import Path
from typing import Any

import anyio
from aiohttp import ClientSession
from anyio import to_thread

from tests.e2e.process import Process, make_key, run, serving
from tests.e2e.torture import Kept
from tests.e2e.traffic import Heard, listen, numbered
from tests.support.apps import app_file, says
from tests.support.client import Client

FILE = "kept.tar.gz"
WORDS = numbered(150)
LISTENERS = 10


async def restore_amid_answers(process: Process, key: str, settings: dict[str, Any]) -> list[Heard]:
    folder = process.folder

    async with ClientSession() as session:
        client = Client(session, f"{process.url}/v1", key, "ann")
        kept = (await client.ask("Hello")).body
        done = await to_thread.run_sync(lambda: run(folder, "backup", FILE, **settings))
        assert done.returncode == 0, done.stderr
        late = (await client.ask("Not in the backup")).body
        heard = [Heard(f"listener {number}") for number in range(LISTENERS)]
        async with anyio.create_task_group() as tasks:
            for one in heard:
                tasks.start_soon(listen, client.as_user(one.user), "count", one)
            with anyio.fail_after(15):
                while not all(one.pieces for one in heard):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            done = await to_thread.run_sync(
                lambda: run(folder, "restore", FILE, "--force", **settings)
            )
            assert done.returncode == 0, done.stderr
        assert {item["id"] for item in (await client.get("/conversations")).body["data"]} == {
            kept["conversation_id"]
        }
        gone = await client.get("/messages", conversation_id=late["conversation_id"])
        assert gone.status == 404
        more = await client.ask("And now?", conversation_id=kept["conversation_id"])
        assert more.status == 200
        said = await client.messages(kept["conversation_id"])
        assert [message["answer"] for message in said] == [WORDS, WORDS]
    return heard


def test_a_restore_amid_answers_ends_no_stream_early(tmp_path: Path, database_url: str) -> None:
    key = make_key(tmp_path, app_file(says(text=WORDS, pace=0.01)), database_url)
    settings = {"KAIWA_DATABASE_URL": database_url}
    with serving(tmp_path, **settings) as process:
        for heard in anyio.run(restore_amid_answers, process, key, settings):
            assert (heard.status, heard.broken, heard.ends) == (200, False, ["message_end"])
            assert heard.text == WORDS
        assert process.stop() == 0
        assert "Traceback" not in process.stderr()
    Kept(tmp_path, database_url).check()
