"""Apps: applied from files, versioned, found, deleted."""

from uuid import UUID

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select
from uuid_utils.compat import uuid7

from kaiwa.domain.app import App
from kaiwa.errors import AppUnavailable, OperatorError
from kaiwa.store.apps import apply_app, delete_app, find_app, get_config, list_apps
from kaiwa.store.db import Database
from kaiwa.store.tables import DEFAULT_WORKSPACE, app_configs
from tests.store.sample import draft, make_app, tick

pytestmark = pytest.mark.anyio


async def count_versions(db: Database) -> int:
    query = select(func.count()).select_from(app_configs)
    return await db.read(lambda conn: conn.execute(query).scalar_one())


async def test_a_first_draft_makes_an_app(db: Database) -> None:
    first = draft(prompt="Be kind to {{名前}}.")
    app, created = await apply_app(db, first, uuid7, tick())
    assert created
    assert (app.name, app.workspace_id, app.site) == ("Helper", DEFAULT_WORKSPACE, first.site)
    assert await get_config(db, app.id, app.config_id) == first.config


async def test_every_field_of_a_configuration_comes_back(db: Database) -> None:
    first = draft()
    model = replace(first.config.model, params={"n": 2**70, "x": [1.5, None, {"名": True}]})
    config = replace(first.config, model=model, raw_form=({"text-input": {"default": "é"}},))
    app, _ = await apply_app(db, replace(first, config=config), uuid7, tick())
    assert await get_config(db, app.id, app.config_id) == config


async def test_the_same_draft_again_makes_no_version(db: Database) -> None:
    app, _ = await apply_app(db, draft(), uuid7, tick())
    assert await apply_app(db, draft(), uuid7, tick()) == (app, False)
    assert await count_versions(db) == 1


async def test_a_changed_draft_makes_a_version_and_keeps_the_old_one(db: Database) -> None:
    old, _ = await apply_app(db, draft(prompt="old"), uuid7, tick())
    new, created = await apply_app(db, draft(prompt="new"), uuid7, tick())
    assert (created, new.id) == (False, old.id)
    assert (await get_config(db, old.id, old.config_id)).pre_prompt == "old"
    assert (await get_config(db, old.id, new.config_id)).pre_prompt == "new"


async def test_going_back_to_an_old_draft_is_a_new_version(db: Database) -> None:
    for prompt in ("a", "b", "a"):
        await apply_app(db, draft(prompt=prompt), uuid7, tick())
    assert await count_versions(db) == 3


async def test_a_changed_source_alone_makes_a_version(db: Database) -> None:
    for source in ("# one", "# two"):
        await apply_app(db, draft(source=source), uuid7, tick())
    assert await count_versions(db) == 2


async def test_switching_the_api_off_makes_no_version(db: Database) -> None:
    await apply_app(db, draft(), uuid7, tick())
    app, _ = await apply_app(db, draft(api_enabled=False), uuid7, tick())
    assert not app.api_enabled
    assert await count_versions(db) == 1


async def test_a_draft_with_an_id_means_that_app_alone(db: Database) -> None:
    await apply_app(db, draft(), uuid7, tick())
    wanted = uuid7()
    app, created = await apply_app(db, draft(id=wanted), uuid7, tick())
    assert (app.id, created) == (wanted, True)
    renamed, created = await apply_app(db, draft("Guide", id=wanted), uuid7, tick())
    assert (renamed.id, renamed.name, created) == (wanted, "Guide", False)


async def test_a_name_that_several_apps_have_is_refused(db: Database) -> None:
    for _ in range(2):
        await make_app(db)
    with pytest.raises(OperatorError, match="2 apps are called Helper"):
        await apply_app(db, draft(), uuid7, tick())
    with pytest.raises(OperatorError, match="2 apps are called Helper"):
        await find_app(db, "Helper")


async def test_the_id_of_a_deleted_app_is_refused_but_its_name_is_free(
    db: Database, app: App
) -> None:
    await delete_app(db, app.id, tick())
    with pytest.raises(OperatorError, match="was deleted"):
        await apply_app(db, draft(id=app.id), uuid7, tick())
    again, created = await apply_app(db, draft(), uuid7, tick())
    assert created
    assert again.id != app.id


async def test_an_app_is_found_by_id_and_by_name_until_it_is_deleted(
    db: Database, app: App
) -> None:
    assert await find_app(db, str(app.id)) == app
    assert await find_app(db, "Helper") == app
    assert await find_app(db, "nobody") is None
    other = await make_app(db, "Other")
    assert await list_apps(db) == [app, other]
    await delete_app(db, app.id, tick())
    assert await find_app(db, str(app.id)) is None
    assert await find_app(db, "Helper") is None
    assert await list_apps(db) == [other]
    with pytest.raises(OperatorError):
        await delete_app(db, app.id, tick())


async def test_a_configuration_belongs_to_its_app(db: Database, app: App) -> None:
    other = await make_app(db, "Other")
    for app_id, config_id in ((other.id, app.config_id), (app.id, UUID(int=1))):
        with pytest.raises(AppUnavailable):
            await get_config(db, app_id, config_id)
