"""Settings: read from the environment once, and refused with a sentence where they do not fit."""

from pathlib import Path

import pytest

from holdfast.core.errors import InvalidInputError
from holdfast.db.address import parse_address
from holdfast.features.accounts.rules import LONGEST_PASSWORD, SHORTEST_PASSWORD
from holdfast.settings import Settings, load_settings

SECRET = "a-secret-of-more-than-thirty-two-characters"


def test_nothing_set_means_an_embedded_database_on_loopback() -> None:
    settings = load_settings({"PATH": "/bin"})
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.resolved_database_url == f"sqlite:///{Path('data').resolve()}/holdfast.db"
    assert (settings.pool_max_idle, settings.pool_max_open, settings.pool_lifetime_seconds) == (10, 100, 3600)
    assert (settings.retention_deleted_days, settings.retention_audit_days) == (30, 90)
    assert settings.resolved_bundle_dir == Path("data/bundles").resolve()


def test_bundles_stand_where_the_setting_says() -> None:
    assert load_settings({"HOLDFAST_DATA_DIR": "/srv/a"}).resolved_bundle_dir == Path("/srv/a/bundles")
    settings = load_settings({"HOLDFAST_DATA_DIR": "/srv/a", "HOLDFAST_BUNDLE_DIR": "/mnt/b"})
    assert settings.resolved_bundle_dir == Path("/mnt/b")


def test_values_are_read_in_their_types() -> None:
    settings = load_settings(
        {
            "HOLDFAST_PORT": "9000",
            "HOLDFAST_DATA_DIR": "/srv/holdfast",
            "HOLDFAST_REGISTRATION_OPEN": "true",
            "HOLDFAST_POOL_WAIT_SECONDS": "0.5",
        }
    )
    assert settings.port == 9000
    assert settings.resolved_database_url == "sqlite:////srv/holdfast/holdfast.db"
    assert settings.registration_open is True
    assert settings.pool_wait_seconds == 0.5


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("HOLDFAST_PORT", "many", "HOLDFAST_PORT"),
        ("HOLDFAST_PORT", "70000", "HOLDFAST_PORT"),
        ("HOLDFAST_MODE", "prod", "HOLDFAST_MODE"),
        ("HOLDFAST_REGISTRATION_OPEN", "maybe", "HOLDFAST_REGISTRATION_OPEN"),
        ("HOLDFAST_SESSION_SECONDS", "-1", "HOLDFAST_SESSION_SECONDS"),
        ("HOLDFAST_SIGN_IN_ATTEMPTS", "0", "HOLDFAST_SIGN_IN_ATTEMPTS"),
        ("HOLDFAST_API_TOKEN_MAX_DAYS", "99999999999", "HOLDFAST_API_TOKEN_MAX_DAYS"),
        ("HOLDFAST_MAX_REQUEST_BYTES", "-1", "HOLDFAST_MAX_REQUEST_BYTES"),
        ("HOLDFAST_POOL_WAIT_SECONDS", "nan", "HOLDFAST_POOL_WAIT_SECONDS"),
        ("HOLDFAST_STATEMENT_TIMEOUT_SECONDS", "-5", "HOLDFAST_STATEMENT_TIMEOUT_SECONDS"),
        ("HOLDFAST_POOL_MAX_OPEN", "1", "HOLDFAST_POOL_MAX_OPEN must be between 2 and 10000"),
        ("HOLDFAST_POOL_MAX_IDLE", "101", "HOLDFAST_POOL_MAX_IDLE"),
        ("HOLDFAST_RETENTION_DELETED_DAYS", "0", "HOLDFAST_RETENTION_DELETED_DAYS"),
        ("HOLDFAST_PROT", "80", "HOLDFAST_PROT"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: str, named: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_settings({name: value})
    assert named in caught.value.message


@pytest.mark.parametrize(
    "length", [0, SHORTEST_PASSWORD - 1, SHORTEST_PASSWORD, LONGEST_PASSWORD, LONGEST_PASSWORD + 1]
)
def test_a_first_password_that_no_user_may_have_is_refused_without_being_shown(length: int) -> None:
    password = "p4" * length
    environment = {"HOLDFAST_ADMIN_PASSWORD": password[:length]}
    if SHORTEST_PASSWORD <= length <= LONGEST_PASSWORD:
        assert load_settings(environment).admin_password == password[:length]
        return
    with pytest.raises(InvalidInputError, match="HOLDFAST_ADMIN_PASSWORD") as caught:
        load_settings(environment)
    assert "p4" not in caught.value.message


@pytest.mark.parametrize("secret", [{}, {"HOLDFAST_SECRET": "short"}])
def test_production_refuses_a_default_or_short_secret(secret: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="HOLDFAST_SECRET"):
        load_settings({"HOLDFAST_MODE": "production", **secret})
    assert load_settings({"HOLDFAST_MODE": "production", "HOLDFAST_SECRET": SECRET}).mode == "production"


@pytest.mark.parametrize(
    "url",
    ["nonsense", "oracle://host/db", "sqlite://", "sqlite:///:memory:", "postgresql://host", "mariadb://host:x/db"],
)
def test_an_unusable_database_address_is_refused_with_the_forms_there_are(url: str) -> None:
    with pytest.raises(InvalidInputError, match="HOLDFAST_DATABASE_URL"):
        parse_address(url)


def test_a_shown_address_hides_its_password() -> None:
    address = parse_address("postgresql://holdfast:hunter2@db.example.org/holdfast")
    assert "hunter2" not in address.shown
    assert "hunter2" in address.dsn
