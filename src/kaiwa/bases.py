"""What the apps of an installation need of its knowledge bases, and what is amiss with these.

`kaiwa app apply` and `kaiwa doctor` tell it.
"""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from kaiwa.app import make_catalog, open_database
from kaiwa.domain.app import AppConfig
from kaiwa.domain.knowledge import KnowledgeBase
from kaiwa.errors import KaiwaError, OperatorError
from kaiwa.plain import say
from kaiwa.providers.comparing import DEFAULT, Comparers, split_model
from kaiwa.providers.http import Operator
from kaiwa.settings import Settings
from kaiwa.store.apps import get_config, list_apps
from kaiwa.store.db import Reads
from kaiwa.store.documents import count_failed
from kaiwa.store.knowledge import list_bases, list_missing_bases
from kaiwa.store.tables import DEFAULT_WORKSPACE


class KnowledgeState(Struct, frozen=True):
    """The bases as they were found."""

    bases: int
    documents: int
    failed: int
    """Of the documents."""
    embeds: str
    """What compares the texts of new bases by their meaning; empty: nothing does."""
    ranks: str
    """What ranks anew; may be empty."""


async def list_base_notes(db: Reads, config: AppConfig) -> list[str]:
    """Lines about the bases that the app names and that are not there."""
    if config.knowledge is None:
        return []
    missing = await list_missing_bases(db, DEFAULT_WORKSPACE, config.knowledge.bases)
    return [
        f"the knowledge base {name} is not there, so nothing is found in it; make it with kaiwa"
        " knowledge create, or name another one with kaiwa: {knowledge: …}"
        for name in missing
    ]


async def examine_bases(settings: Settings, problems: list[str], *, there: bool) -> KnowledgeState:
    """`there`: whether there is a database at the newest schema. Raises `OperatorError`."""
    bases: list[KnowledgeBase] = []
    failed: dict[UUID, int] = {}
    if there:
        db = await open_database(settings)
        try:
            bases, _ = await list_bases(db, DEFAULT_WORKSPACE)
            failed = await count_failed(db)
            for app in await list_apps(db):
                notes = await list_base_notes(db, await get_config(db, app.id, app.config_id))
                problems += [f"In the app {app.name}, {note}." for note in notes]
        finally:
            await db.close()
    problems += [
        f"In the knowledge base {base.name}, {failed[base.id]} documents failed; kaiwa knowledge"
        " status says why, and to add them again tries again."
        for base in bases
        if base.id in failed
    ]
    problems += await _check_comparers(settings, bases)
    return KnowledgeState(
        len(bases),
        sum(base.document_count for base in bases),
        sum(failed.values()),
        settings.embedding_model,
        settings.rerank_model,
    )


async def _check_comparers(settings: Settings, bases: Sequence[KnowledgeBase]) -> list[str]:
    """What keeps the models of the settings, and of the bases, from being asked.

    Whether their servers answer is looked at where all model servers are.
    """
    wanted = {split_model(settings.embedding_model): "The setting embedding_model"}
    for base in bases:
        model = (base.embedding_provider, base.embedding_model) if base.embeds else ("", "")
        wanted.setdefault(model, f"The knowledge base {base.name}")
    wanted.pop(("", ""), None)
    problems: list[str] = []
    http = Operator(settings.connect_timeout)
    try:
        comparers = Comparers(make_catalog(settings, http), http, settings.rerank_model)
        for (provider, model), who in wanted.items():
            try:
                await comparers.embedder(provider, model)
            except KaiwaError as error:
                problems.append(f"{who} cannot be used: {say(error)}")
        if settings.rerank_model:
            try:
                await comparers.reranker(DEFAULT)
            except KaiwaError as error:
                problems.append(f"The setting rerank_model cannot be used: {say(error)}")
    except OperatorError:
        return []  # told where model servers are looked at
    finally:
        await http.close()
    return problems
