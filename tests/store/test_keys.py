"""Keys: who calls, and how a key stops working."""

from hashlib import sha256

import pytest
from sqlalchemy.exc import IntegrityError
from uuid_utils.compat import uuid7

from kaiwa.domain.app import ApiKey, App
from kaiwa.errors import Forbidden, OperatorError, Unauthorized
from kaiwa.store.apps import apply_app, delete_app, get_config
from kaiwa.store.db import Database
from kaiwa.store.keys import KeyedReads, create_key, find_caller, list_keys, revoke_key
from tests.store.sample import draft, make_app, tick

pytestmark = pytest.mark.anyio


def digest_of(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


async def make_key(db: Database, app: App, secret: str = "app-AbCdEf") -> ApiKey:
    return await create_key(db, app.id, digest_of(secret), secret[:8], uuid7, tick())


async def test_a_key_brings_its_app_and_current_configuration(db: Database, app: App) -> None:
    key = await make_key(db, app)
    caller = await find_caller(db, digest_of("app-AbCdEf"))
    assert caller
    assert (caller.key_id, caller.app) == (key.id, app)
    assert caller.config == await get_config(db, app.id, app.config_id)
    changed, _ = await apply_app(db, draft(id=app.id, prompt="new"), uuid7, tick())
    caller = await find_caller(db, digest_of("app-AbCdEf"))
    assert caller
    assert (caller.app, caller.config.pre_prompt) == (changed, "new")


async def test_an_unknown_secret_is_nobodys(db: Database, app: App) -> None:
    await make_key(db, app)
    assert await find_caller(db, digest_of("app-AbCdEg")) is None


async def test_a_revoked_key_fails_at_once(db: Database, app: App) -> None:
    key = await make_key(db, app)
    revoked = await revoke_key(db, str(key.id), tick())
    assert revoked.revoked_at
    assert await find_caller(db, digest_of("app-AbCdEf")) is None
    assert await list_keys(db, app.id) == [revoked]


async def test_a_key_is_looked_up_before_the_first_thing_is_read_for_it(
    db: Database, app: App
) -> None:
    key = await make_key(db, app)
    reads = KeyedReads(db, digest_of("app-AbCdEf"), app.id)
    assert reads.caller is None
    assert await reads.read(lambda _: 1) == 1
    assert reads.caller
    assert (reads.caller.key_id, reads.caller.app) == (key.id, app)
    other = KeyedReads(db, digest_of("app-AbCdEf"), uuid7())
    await revoke_key(db, str(key.id), tick())
    ran: list[int] = []
    for late in (other, KeyedReads(db, digest_of("app-AbCdEf"), app.id)):
        with pytest.raises(Unauthorized):
            await late.read(lambda _: ran.append(1))
    assert ran == []
    assert await reads.read(lambda _: 2) == 2  # this request's key was good when it was looked up


async def test_a_key_of_another_app_reads_nothing(db: Database, app: App) -> None:
    await make_key(db, app)
    ran: list[int] = []
    with pytest.raises(Unauthorized):
        await KeyedReads(db, digest_of("app-AbCdEf"), uuid7()).read(lambda _: ran.append(1))
    assert ran == []


async def test_the_keys_of_a_deleted_app_fail_at_once(db: Database, app: App) -> None:
    await make_key(db, app)
    await delete_app(db, app.id, tick())
    with pytest.raises(Forbidden, match="no longer exists"):
        await find_caller(db, digest_of("app-AbCdEf"))
    assert await list_keys(db) == []
    with pytest.raises(OperatorError):
        await make_key(db, app, "app-other")


async def test_a_switched_off_api_refuses_its_keys(db: Database, app: App) -> None:
    await make_key(db, app)
    await apply_app(db, draft(id=app.id, api_enabled=False), uuid7, tick())
    with pytest.raises(Forbidden, match="has been disabled"):
        await find_caller(db, digest_of("app-AbCdEf"))


async def test_keys_are_listed_by_app_or_all(db: Database, app: App) -> None:
    other = await make_app(db, "Other")
    mine, theirs = await make_key(db, app), await make_key(db, other, "app-zzzzzz")
    assert (mine.app_name, mine.prefix, mine.revoked_at) == ("Helper", "app-AbCd", None)
    assert await list_keys(db, app.id) == [mine]
    assert await list_keys(db, None) == [mine, theirs]


async def test_a_key_is_revoked_by_a_prefix_only_it_has(db: Database, app: App) -> None:
    first, second = await make_key(db, app, "app-Ab12"), await make_key(db, app, "app-aB12")
    for ref in ("app-", "", "nobody", "app-%", "app-AB", "app-Ab123"):
        with pytest.raises(OperatorError):
            await revoke_key(db, ref, tick())
    assert (await revoke_key(db, "app-A", tick())).id == first.id
    assert (await revoke_key(db, "app-", tick())).id == second.id
    with pytest.raises(OperatorError):
        await revoke_key(db, str(first.id), tick())


async def test_two_keys_never_share_a_secret(db: Database, app: App) -> None:
    await make_key(db, app)
    with pytest.raises(IntegrityError):
        await make_key(db, app)
