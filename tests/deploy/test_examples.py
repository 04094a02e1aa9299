"""The example configurations: settings that Holdfast takes, of the shape that each says it has."""

from pathlib import Path

import pytest

from holdfast.core.errors import InvalidInputError
from holdfast.db.address import parse_address
from holdfast.db.open import open_database
from holdfast.settings import load_settings
from tests.deploy.environment_files import read_environment_file

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "deploy" / "examples"
_SECRET = {"HOLDFAST_SECRET": "a secret of the tests, long enough to be one"}
# Each with its engine and its database servers.
_SHAPES = {
    "embedded.env": ("sqlite", 0),
    "postgresql.env": ("postgresql", 1),
    "mariadb.env": ("mariadb", 1),
    "patroni.env": ("postgresql", 3),
    "galera.env": ("mariadb", 3),
}


def test_every_example_has_a_shape_here() -> None:
    assert {path.name for path in _FOLDER.glob("*.env")} == set(_SHAPES)


@pytest.mark.parametrize("name", sorted(_SHAPES))
def test_an_example_is_one_that_holdfast_starts_with_once_it_has_a_secret(name: str) -> None:
    engine, hosts = _SHAPES[name]
    given = read_environment_file(_FOLDER / name)
    with pytest.raises(InvalidInputError, match="HOLDFAST_SECRET"):
        load_settings(given)
    settings = load_settings(given | _SECRET)
    assert settings.mode == "production"
    assert settings.trusted_proxies
    assert settings.backup_url
    address = parse_address(settings.resolved_database_url)
    assert address.dialect_name == engine
    assert settings.resolved_database_url.count(".example.org:") == hosts
    if "ca.pem" not in settings.database_url:
        assert open_database(settings).dialect_name == engine
    # Several servers may stand behind each address, so what jobs write must be seen by all of them.
    assert bool(settings.bundle_dir) == (engine != "sqlite")


@pytest.mark.parametrize("name", sorted(_SHAPES))
def test_the_guide_speaks_of_each(name: str) -> None:
    assert f"deploy/examples/{name}" in (_ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
