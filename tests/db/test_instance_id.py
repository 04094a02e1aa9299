"""Each database says which instance it is: from its migration on, and whoever asks, whatever is there."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.errors import ConnectionLostError, DatabaseError
from holdfast.db.instance_id import FIRST_REVISION, find_instance_id, find_instance_id_at, set_instance_id
from holdfast.db.migrate import check_schema, downgrade, migrate
from holdfast.db.migrations.files import known_revisions
from holdfast.db.open import open_database
from tests.conftest import NewDatabase
from tests.db.live import other_connection
from tests.instance import instance_settings

_BEFORE = f"{int(FIRST_REVISION) - 1:04d}"


@pytest.fixture
def url(engine: str, new_database: NewDatabase) -> str:
    return new_database(engine)


@pytest.fixture
def address(url: str) -> DatabaseAddress:
    return parse_address(url)


async def test_each_new_database_is_another_instance_and_stays_it(
    engine: str, address: DatabaseAddress, new_database: NewDatabase
) -> None:
    other = parse_address(new_database(engine))
    await migrate(address)
    await migrate(other)
    made = await find_instance_id_at(address)
    assert made == str(uuid.UUID(made))
    assert made != await find_instance_id_at(other)
    await migrate(address)
    assert await find_instance_id_at(address) == made


async def test_a_database_of_the_release_before_gets_an_id_and_serves_it_still(
    url: str, address: DatabaseAddress
) -> None:
    await migrate(address, _BEFORE)
    assert await find_instance_id_at(address) is None
    await migrate(address)
    assert await find_instance_id_at(address) is not None
    with other_connection(url) as connection:
        (serves,) = connection.execute(text("SELECT serves_code_from FROM alembic_version")).scalars()
    assert serves <= _BEFORE
    await check_schema(address)
    await downgrade(address, _BEFORE)
    assert await find_instance_id_at(address) is None


async def test_it_is_read_and_set_in_a_transaction(url: str, address: DatabaseAddress, tmp_path: Path) -> None:
    await migrate(address, _BEFORE)
    settings = instance_settings(url, tmp_path)
    async with open_database(settings).running() as database, database.read() as tx:
        assert await find_instance_id(tx) is None
    await migrate(address)
    async with open_database(settings).running() as database:
        async with database.read() as tx:
            assert await find_instance_id(tx) == await find_instance_id_at(address)
        async with database.write() as tx:
            await set_instance_id(tx, "another-1")
        assert await find_instance_id_at(address) == "another-1"
        async with database.write() as tx:
            with pytest.raises(DatabaseError, match="which is no id"):
                await set_instance_id(tx, "it's")
    with other_connection(url) as connection:
        connection.execute(text("UPDATE alembic_version SET instance_id = 'two words'"))
    with pytest.raises(DatabaseError, match="instance_id of alembic_version is 'two words', which is no id"):
        await find_instance_id_at(address)
    with other_connection(url) as connection:
        connection.execute(text("UPDATE alembic_version SET instance_id = NULL"))
    assert await find_instance_id_at(address) is None
    assert (await check_schema(address)).current == known_revisions()[-1]


async def test_whoever_asks_an_empty_database_leaves_it_so(engine: str, url: str, address: DatabaseAddress) -> None:
    assert await find_instance_id_at(address) is None
    if engine == "sqlite":
        assert not address.path.exists()
        address.path.touch()
        assert await find_instance_id_at(address) is None
        address.path.write_bytes(b"no database" * 1000)
        with pytest.raises(DatabaseError, match="cannot be read"):
            await find_instance_id_at(address)
        assert address.path.read_bytes() == b"no database" * 1000


async def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(ConnectionLostError):
        await find_instance_id_at(parse_address("postgresql://nobody@127.0.0.1:1/none"))
