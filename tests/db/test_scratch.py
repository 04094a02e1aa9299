"""The name and the address of a database for drills, of one server and of several."""

import pytest

from holdfast.db.address import Host, parse_address
from holdfast.db.scratch import scratch_name
from holdfast.operations.backup.engines.postgresql import url_and_password


def test_long_names_with_the_same_beginning_have_scratch_databases_of_their_own() -> None:
    names = [scratch_name(parse_address(f"postgresql://u@h/{'x' * 50}{ending}")) for ending in ("one", "two", "")]
    assert len(set(names)) == 3
    assert all(name.endswith("_holdfast_drill") and len(name) <= 63 for name in names)
    assert len(scratch_name(parse_address(f"postgresql://u@h/{'%C3%A4' * 40}")).encode()) <= 63


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_an_address_with_several_hosts_keeps_them(scheme: str) -> None:
    address = parse_address(f"{scheme}://u:p%40@db1:5432,db2:5433/holdfast?ssl=true")
    assert scratch_name(address) == "holdfast_holdfast_drill"
    there = address.with_database("other")
    assert there == parse_address(f"{scheme}://u:p%40@db1:5432,db2:5433/other?ssl=true")
    assert (address.database_name, address.user_name) == ("holdfast", "u")
    alone = address.at_host(Host("db2", 5433))
    assert alone == parse_address(f"{scheme}://u:p%40@db2:5433/holdfast?ssl=true")
    assert address.is_same_as(parse_address(f"{scheme}://u@db2:5433,db1:5432/holdfast?ssl=true"))
    assert not address.is_same_as(there)
    assert address.is_same_as(alone)
    assert not alone.is_same_as(address.at_host(Host("db3", 5432)))


def test_the_programs_of_postgresql_are_sent_to_the_primary() -> None:
    several, password = url_and_password(parse_address("postgresql://u:p@db1,db2/holdfast"))
    assert several == "postgresql://u@db1:5432,db2:5432/holdfast?target_session_attrs=read-write"
    assert password == "p"
    one, _ = url_and_password(parse_address("postgresql://u:p@db1/holdfast"))
    assert one == "postgresql://u@db1/holdfast"
