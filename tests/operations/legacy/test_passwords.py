"""Who was imported signs in with the password of before, and the hash of bcrypt is gone with that."""

from typing import Any

import pytest

from holdfast.db.engines.base import Database
from holdfast.db.open import open_database
from holdfast.features.accounts.passwords import check_password
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.legacy import importing
from holdfast.operations.legacy.hashes import WELL_KNOWN_HASHES
from holdfast.operations.legacy.importing import imagine_import, import_legacy
from holdfast.operations.legacy.types import Options
from tests.db.rows import fetch, run
from tests.instance import Instance, run_instance
from tests.operations.legacy.conftest import Legacy, NewTarget
from tests.operations.legacy.loading import open_legacy
from tests.operations.legacy.rows import OLD_HASH, OLD_PASSWORD

pytestmark = pytest.mark.slow


async def _sign_in(instance: Instance, username: str, password: str) -> int:
    answer = await instance.client().post("/sessions", json={"username": username, "password": password})
    return answer.status_code


async def _stored(database: Database, u_id: str) -> str:
    ((stored,),) = await fetch(database, f"SELECT password FROM users WHERE u_id = '{u_id}'")
    return str(stored)


@pytest.mark.parametrize("name", ["december_2025", "seed7_mariadb"])
async def test_an_imported_user_signs_in_and_the_hash_is_replaced(
    legacy: Legacy, new_target: NewTarget, name: str, engine: str
) -> None:
    url, _ = legacy(name, with_faults=False)
    settings = new_target(engine)
    done = await import_legacy(settings, url, Options())
    assert (done.bcrypt_hashes, done.foreign_hashes) == (5, 0)
    async with run_instance(engine, settings) as instance:
        assert await _stored(instance.database, "user_2") == OLD_HASH
        assert await _sign_in(instance, "mei", "not " + OLD_PASSWORD) == 401
        assert await _stored(instance.database, "user_2") == OLD_HASH
        assert await _sign_in(instance, "mei", OLD_PASSWORD) == 201
        replaced = await _stored(instance.database, "user_2")
        assert replaced.startswith("$argon2id$")
        assert await _sign_in(instance, "mei", OLD_PASSWORD) == 201
        assert await _stored(instance.database, "user_2") == replaced
        assert await _sign_in(instance, "mei", "not " + OLD_PASSWORD) == 401
        # Who was disabled stays so, whatever they know.
        assert await _sign_in(instance, "gone", OLD_PASSWORD) == 401
        # A further run leaves the new hash alone, and misses nothing.
        again = await import_legacy(settings, url, Options())
        assert (again.unexplained, sum(again.added.values())) == (0, 0)
        assert await _stored(instance.database, "user_2") == replaced
        await instance.close_clients()


async def test_the_well_known_hash_is_none_of_them(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    """Whoever has it: user `admin` gets a password of its own, another one none."""
    url, _ = legacy("december_2025", with_faults=False)
    (public,) = WELL_KNOWN_HASHES
    with open_legacy(url) as older:
        older.run("UPDATE users SET password = %s WHERE username = 'olga'", public)
    settings = new_target(engine)
    done = await import_legacy(settings, url, Options())
    assert (done.bcrypt_hashes, done.foreign_hashes) == (4, 0)
    async with open_database(settings).running() as database:
        rows = dict(await fetch(database, "SELECT username, password FROM users"))
    assert public not in rows.values()
    assert (await check_password(rows["admin"], "correct horse battery")).matches
    assert not rows["olga"].startswith("$")


async def test_an_admin_with_a_password_of_their_own_keeps_it(
    legacy: Legacy, new_target: NewTarget, engine: str
) -> None:
    url, _ = legacy("december_2025", with_faults=False)
    with open_legacy(url) as older:
        older.run("UPDATE users SET password = %s WHERE username = 'admin'", OLD_HASH)
    settings = new_target(engine)
    done = await import_legacy(settings, url, Options())
    assert done.admin_password is None
    async with open_database(settings).running() as database:
        columns = "password, must_change_password"
        ((stored, must_change),) = await fetch(database, f"SELECT {columns} FROM users WHERE username = 'admin'")
    assert (stored, bool(must_change)) == (OLD_HASH, False)


async def test_hashes_that_open_nothing_are_counted(legacy: Legacy, new_target: NewTarget) -> None:
    url, _ = legacy("december_2025", with_faults=False)
    stored = {
        "mei": "pässword",
        "noah": OLD_HASH.replace("$10$", "$31$"),
        "olga": "$argon2id$v=19$m=8,t=1,p=1$qZjP/KlCJOEt7/H07V+JxA$zeegZeHSCDu4UMOY1liMbA",
        "guest": "",
    }
    with open_legacy(url) as older:
        for username, text in stored.items():
            older.run("UPDATE users SET password = %s WHERE username = %s", text, username)
    imagined = await imagine_import(None, url, Options())
    assert (imagined.bcrypt_hashes, imagined.foreign_hashes) == (1, 2)
    settings = new_target("sqlite")
    done = await import_legacy(settings, url, Options())
    assert (done.unexplained, done.bcrypt_hashes, done.foreign_hashes) == (0, 1, 2)
    async with run_instance("sqlite", settings) as instance:
        assert await _stored(instance.database, "user_2") == stored["mei"]
        for username, text in stored.items():
            assert await _sign_in(instance, username, text) == 401
            assert await _sign_in(instance, username, OLD_PASSWORD) == 401
        assert await _sign_in(instance, "olga", "correct horse battery") == 201
        await instance.close_clients()


async def test_a_sign_in_before_the_comparison_is_no_difference(
    legacy: Legacy, new_target: NewTarget, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a running Holdfast: people may be there as soon as their row is. A hash that only differs is told."""
    url, _ = legacy("december_2025", with_faults=False)
    settings = new_target(engine)

    async def meanwhile(database: Database, *arguments: Any) -> Any:
        first_start = await ensure_first_start(database, *arguments)
        async with run_instance(engine, settings) as instance:
            assert await _sign_in(instance, "mei", OLD_PASSWORD) == 201
            await instance.close_clients()
        await run(database, "UPDATE users SET password = 'spoilt' WHERE u_id = 'user_3'")
        return first_start

    monkeypatch.setattr(importing, "ensure_first_start", meanwhile)
    done = await import_legacy(settings, url, Options())
    told = [f"{each.table} {each.old_key}: {each.message}" for found in done.comparisons for each in found.listed]
    assert told == ["users 3: password of user_3 is another"]
