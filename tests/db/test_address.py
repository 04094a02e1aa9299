"""Addresses with several hosts (issue 5, point 6)."""

import pytest

from holdfast.core.errors import InvalidInputError
from holdfast.db.address import Host, parse_address


def test_an_address_may_name_several_hosts() -> None:
    address = parse_address("postgresql://u:p%40,%3A@h1:5433,h2,[::1]:5434/holdfast?target_session_attrs=primary")
    assert address.hosts == (Host("h1", 5433), Host("h2", 5432), Host("::1", 5434))
    assert address.shown == "postgresql://u:***@h1:5433,h2:5432,[::1]:5434/holdfast?target_session_attrs=primary"
    assert address.dsn == ("postgresql://u:p%40%2C%3A@h1:5433,h2:5432,[::1]:5434/holdfast?target_session_attrs=primary")


def test_mariadb_gets_the_arguments_of_each_host() -> None:
    address = parse_address("mariadb://u:p%40@h1,h2:3307/holdfast")
    assert address.shown == "mariadb://u:***@h1:3306,h2:3307/holdfast"
    assert [(each["host"], each["port"]) for each in address.connect_arguments_of_hosts] == [("h1", 3306), ("h2", 3307)]
    assert {(each["user"], each["password"], each["db"]) for each in address.connect_arguments_of_hosts} == {
        ("u", "p@", "holdfast")
    }


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h1/x",
        "mariadb://u@h1:3307/x",
        "sqlite:////tmp/a,b.db",
        "postgresql://u@h1/x?application_name=a,b",
    ],
)
def test_other_addresses_name_no_list_of_hosts(url: str) -> None:
    assert parse_address(url).hosts == ()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:hunter2@h1,h1:5432/x", "h1:5432 twice"),
        ("postgresql://u:hunter2@h1,/x", "with commas"),
        ("mariadb://u:hunter2@h1:0,h2/x", "1 to 65535"),
        ("mariadb://u:hunter2@h1:99999,h2/x", "1 to 65535"),
        ("mariadb://u:hunter2@h1,h2:one/x", "name:port"),
        ("postgresql://u:hunter2@h1,h2/x?target_session_attrs=standby", "primary or read-write"),
        ("postgresql://u:hunter2@h1,h2", "names no database"),
    ],
)
def test_a_list_of_hosts_that_is_not_one_is_refused(url: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match="HOLDFAST_DATABASE_URL") as caught:
        parse_address(url)
    assert says in caught.value.message
    assert "hunter2" not in caught.value.message
