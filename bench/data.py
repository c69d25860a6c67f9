"""What a bench finds in the database: apps, a key for each, conversations with messages."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from sqlalchemy import insert
from uuid_utils.compat import uuid7

from kaiwa.app import open_database
from kaiwa.domain.app import App
from kaiwa.domain.dsl import read_dsl
from kaiwa.domain.message import Outcome
from kaiwa.settings import Settings
from kaiwa.store.apps import apply_app
from kaiwa.store.db import Database
from kaiwa.store.keys import create_key
from kaiwa.store.tables import conversations, end_users, messages

_START = datetime(2026, 1, 1, tzinfo=UTC)
_QUERY = "What does the second chapter say about keeping promises under load?"
_ANSWER = "It says that " + "a promise is a test that somebody runs. " * 10
_PORTION = 5000


class Prepared:
    """An app with a key, and an end user with conversations."""

    def __init__(self, db: Database, app: App, key: str, user_id: UUID) -> None:
        self._db = db
        self._app = app
        self.workspace_id = app.workspace_id
        self._user_id = user_id
        self.key = key
        self.ids: list[str] = []
        """Of all conversations, in the order they were made."""

    async def add_conversations(self, count: int, length: int) -> list[str]:
        """So many, each with `length` messages; their ids."""
        common = {"workspace_id": self._app.workspace_id, "app_id": self._app.id}
        common |= {"user_id": self._user_id, "config_id": self._app.config_id, "inputs": {}}
        made: list[dict[str, Any]] = []
        said: list[dict[str, Any]] = []
        for number in range(count):
            moment = _START + timedelta(seconds=number)
            made.append(
                common
                | {"id": uuid7(), "name": "Promises", "introduction": "", "pinned": False}
                | {"created_at": moment, "updated_at": moment}
            )
            for position in range(1, length + 1):
                at = moment + timedelta(milliseconds=position)
                said.append(
                    common
                    | {"id": uuid7(), "conversation_id": made[-1]["id"], "position": position}
                    | {"query": _QUERY, "answer": _ANSWER, "reasoning": "", "owner": UUID(int=1)}
                    | {"outcome": Outcome.NORMAL, "created_at": at, "finished_at": at}
                    | {"heartbeat_at": at}
                )
            if len(said) >= _PORTION or number == count - 1:
                await self._add(made, said)
                made, said = [], []
        return self.ids[-count:]

    async def _add(self, made: list[dict[str, Any]], said: list[dict[str, Any]]) -> None:
        self.ids += [str(row["id"]) for row in made]
        await self._db.write(lambda conn: conn.execute(insert(conversations), made).close())
        if said:
            await self._db.write(lambda conn: conn.execute(insert(messages), said).close())


async def prepare(
    db: Database, model: str, tools: Sequence[str] | None = None, *, speaks: bool = False
) -> Prepared:
    """An app whose model is the bench's, by this name; see `bench.model`. `tools`: an agent's."""
    mode = "chat" if tools is None else "agent-chat"
    described: dict[str, Any] = {
        "app": {"mode": mode, "name": f"Bench {model} {secrets.token_hex(3)}"},
        "kind": "app",
        "version": "0.1.2",
        "model_config": {
            "model": {"provider": "bench", "name": model, "completion_params": {}},
            "pre_prompt": "You are a careful reader. Answer from the book.",
            "file_upload": {
                "enabled": True,
                "allowed_file_types": ["image", "document"],
                "allowed_file_upload_methods": ["local_file"],
                "number_limits": 3,
            },
        },
    }
    if speaks:
        described["model_config"]["text_to_speech"] = {"enabled": True, "autoPlay": "enabled"}
    if tools is not None:
        named = [tool.split("/") for tool in tools]
        described["model_config"]["agent_mode"] = {
            "enabled": True,
            "strategy": "function_call",
            "tools": [
                {"provider_type": "builtin", "provider_id": provider, "tool_name": name}
                for provider, name in named
            ],
        }
    draft, _ = read_dsl(yaml.safe_dump(described), "bench.yml")
    app, _ = await apply_app(db, draft, uuid7, _START)
    key = "app-" + secrets.token_hex(12)
    await create_key(db, app.id, hashlib.sha256(key.encode()).digest(), key[:8], uuid7, _START)
    user_id = uuid7()
    user = {"id": user_id, "workspace_id": app.workspace_id, "app_id": app.id}
    user |= {"source": "api", "name": "bench", "created_at": _START}
    await db.write(lambda conn: conn.execute(insert(end_users), user).close())
    return Prepared(db, app, key, user_id)


async def open_data(folder: Path, url: str = "") -> Database:
    """The database that Kaiwa is going to serve."""
    return await open_database(Settings(data=str(folder), database_url=url))
