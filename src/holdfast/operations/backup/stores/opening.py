"""The store that the settings name."""

import importlib
from pathlib import Path
from urllib.parse import urlsplit

from holdfast.core.errors import InvalidInputError
from holdfast.operations.backup.stores.base import Store
from holdfast.operations.backup.stores.folder import FolderStore
from holdfast.settings import Settings

_FORMS = "a folder such as /var/backups/holdfast, or s3://bucket/prefix"


def open_store(settings: Settings) -> Store:
    """The store of HOLDFAST_BACKUP_URL; by default the folder `backups` in the data folder, which is made."""
    url = settings.backup_url
    if not url:
        return FolderStore((settings.data_dir / "backups").resolve(), make=True)
    if url.startswith("s3://"):
        return _bucket(settings, url)
    if url.startswith("file://"):
        if urlsplit(url).netloc not in ("", "localhost"):
            raise InvalidInputError(
                "HOLDFAST_BACKUP_URL names a host in file://: write three slashes, as in file:///var/backups/holdfast"
            )
        return FolderStore(Path(urlsplit(url).path).resolve(), make=False)
    if "://" in url:
        raise InvalidInputError(f"HOLDFAST_BACKUP_URL is no place for backups; write {_FORMS}")
    return FolderStore(Path(url).resolve(), make=False)


def _bucket(settings: Settings, url: str) -> Store:
    parts = urlsplit(url)
    if "@" in url:
        # The text holds a secret, and what names the store is shown.
        raise InvalidInputError(
            "HOLDFAST_BACKUP_URL holds an @: keys belong in HOLDFAST_BACKUP_S3_KEY and HOLDFAST_BACKUP_S3_SECRET; write"
            " s3://bucket/prefix"
        )
    if not parts.netloc or parts.query or parts.fragment:
        raise InvalidInputError(f"HOLDFAST_BACKUP_URL is no place for backups; write {_FORMS}")
    if bool(settings.backup_s3_key) != bool(settings.backup_s3_secret):
        raise InvalidInputError("HOLDFAST_BACKUP_S3_KEY and HOLDFAST_BACKUP_S3_SECRET belong together")
    options: dict[str, str] = {"region": settings.backup_s3_region}
    if settings.backup_s3_endpoint:
        options["endpoint"] = settings.backup_s3_endpoint
    if settings.backup_s3_key:
        options |= {"access_key_id": settings.backup_s3_key, "secret_access_key": settings.backup_s3_secret}
    # Its library takes room and time, which those who keep backups in a folder need not spend.
    module = importlib.import_module("holdfast.operations.backup.stores.s3")
    store: Store = module.BucketStore(parts.netloc, parts.path.strip("/"), **options)
    return store
