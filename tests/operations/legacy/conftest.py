"""Older databases, and empty or running ones to import them into."""

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.operations.legacy.hashes import WELL_KNOWN_HASHES
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.instance import instance_settings
from tests.operations.legacy.expected import Expected
from tests.operations.legacy.flavours import FLAVOURS
from tests.operations.legacy.loading import make_legacy

NewTarget = Callable[[str], Settings]
Legacy = Callable[..., tuple[str, Expected]]


@pytest.fixture
def new_target(new_database: NewDatabase, tmp_path: Path) -> NewTarget:
    """The settings of a new, empty database of an engine."""

    def make(engine: str) -> Settings:
        return instance_settings(new_database(engine), tmp_path, admin_password="correct horse battery")

    return make


@pytest.fixture
def legacy(new_database: NewDatabase) -> Legacy:
    """Makes an older database of a flavour; its URL and what is expected of it."""

    def make(name: str, *, scale: int = 0, with_faults: bool = True) -> tuple[str, Expected]:
        url = new_database(FLAVOURS[name].engine)
        (admin_hash,) = WELL_KNOWN_HASHES
        return url, make_legacy(url, name, scale=scale, with_faults=with_faults, admin_hash=admin_hash)

    return make
