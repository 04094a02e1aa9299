"""Settings of an API without pages, sessions or forms: nothing runs around a view that it does not need."""

import os
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql

pymysql.install_as_MySQLdb()  # type: ignore[no-untyped-call, unused-ignore]

_URL = urlsplit(os.environ["BENCH_PEER_DATABASE"])
_SERVERS = {"postgresql": "django.db.backends.postgresql", "mariadb": "django.db.backends.mysql"}


def _database() -> dict[str, Any]:
    if _URL.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _URL.path.removeprefix("/"),
            # Writers wait for each other; the default gives up after five seconds.
            "OPTIONS": {
                "timeout": 30,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA cache_size = -4000",
            },
        }
    return {
        "ENGINE": _SERVERS[_URL.scheme],
        "NAME": _URL.path.removeprefix("/"),
        "USER": unquote(_URL.username or ""),
        "PASSWORD": unquote(_URL.password or ""),
        "HOST": _URL.hostname,
        "PORT": _URL.port,
    }


# Kept for as long as its thread lives.
DATABASES = {"default": _database() | {"CONN_MAX_AGE": None}}
SECRET_KEY = "nothing is signed"  # noqa: S105 - and so nothing is secret
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["rest_framework", "bench.peers.django_drf"]
# Without it no answer has a Content-Length, and gunicorn sends them in chunks.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
APPEND_SLASH = False
ROOT_URLCONF = "bench.peers.django_drf.urls"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["bench.peers.django_drf.authentication.BearerToken"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "bench.peers.django_drf.pages.Pages",
    "UNAUTHENTICATED_USER": None,
}
