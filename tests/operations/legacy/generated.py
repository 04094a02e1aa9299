"""Many more rows for an older schema, made by the server itself: a million in some seconds.

Each user has one membership and one audit row, and shares in groups, projects, config files, forms and workloads: four
dependent rows each in February 2026. Nothing is random, and nothing is wrong with any of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from tests.operations.legacy.flavours import Flavour
from tests.operations.legacy.rows import OLD_HASH

# Far above the planted rows, and within four bytes.
FIRST = 1_000_000
_START = "2025-11-01 08:00:00"
_USER = f"{FIRST} + i"
_YAML = """concat('apiVersion: v1
kind: Pod
metadata:
  name: pod-', i, '
')"""


class Dialect(msgspec.Struct, frozen=True):
    """What the engines write differently."""

    series: str
    moment: str
    document: str


_DIALECTS = {
    "postgresql": Dialect(
        "generate_series(0::bigint, {last}) AS s(i)",
        f"timestamp '{_START}' + i * interval '1 second'",
        "CAST({text} AS jsonb)",
    ),
    "mariadb": Dialect(
        "(SELECT seq AS i FROM seq_0_to_{last}) AS s",
        f"timestampadd(SECOND, i, '{_START}')",
        "{text}",
    ),
    "sqlite": Dialect(
        "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {last}) SELECT i FROM s) AS s",
        f"datetime('{_START}', i || ' seconds')",
        "{text}",
    ),
}
_DOCUMENT = """concat('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-', i, '"}}')"""
_CREATED = {"create_at": "{moment}", "update_at": "{moment}"}
_MADE = {"created_at": "{moment}", "updated_at": "{moment}"}


class Shape(msgspec.Struct, frozen=True):
    """The rows of a noun: one for so many users, and for each column an expression of the row's number `i`."""

    users: int
    columns: Mapping[str, str]


def _at(number: str) -> str:
    return f"{FIRST} + floor({number})"


_PROJECT = Shape(
    20,
    {
        "p_id": _USER,
        "project_name": "concat('generated ', i)",
        "description": "''",
        "g_id": _at("i / 5"),
        "gpu_quota": "2",
        **_CREATED,
    },
)
_FILE_NAME = "concat('file-', i, '.yaml')"
# Parents stand before their children.
_SHAPES: Mapping[str, Shape] = {
    "groups": Shape(100, {"g_id": _USER, "group_name": "concat('generated ', i)", "description": "''", **_CREATED}),
    "users": Shape(
        1,
        {
            "u_id": _USER,
            "username": "concat('generated-', i)",
            "password": f"'{OLD_HASH}'",
            "email": "concat('generated-', i, '@lab.example')",
            "full_name": "concat('Generated ', i)",
            **_CREATED,
        },
    ),
    "memberships": Shape(1, {"id": _USER, "u_id": _USER, "g_id": _at("i / 100"), **_CREATED}),
    "projects": _PROJECT,
    "old_projects": _PROJECT,
    "config_files": Shape(
        2,
        {
            "cf_id": _USER,
            "filename": _FILE_NAME,
            "content": _YAML,
            "minio_path": "concat('generated/', i)",
            "project_id": _at("i / 10"),
            "create_at": "{moment}",
        },
    ),
    "resources": Shape(
        2,
        {
            "r_id": _USER,
            "cf_id": _USER,
            "p_id": _at("i / 10"),
            "filename": _FILE_NAME,
            "type": "'Pod'",
            "name": "concat('pod-', i)",
            "parsed_yaml": "{document}",
            "create_at": "{moment}",
        },
    ),
    "forms": Shape(
        4,
        {
            "id": _USER,
            "user_id": _USER,
            "project_id": _at("i / 5"),
            "title": "concat('Generated ', i)",
            "description": "''",
            "tag": "'generated'",
            "status": "'Pending'",
            **_MADE,
        },
    ),
    "messages": Shape(
        2,
        {
            "id": _USER,
            "form_id": _at("i / 2"),
            "user_id": _USER,
            "content": "concat('Message ', i)",
            "created_at": "{moment}",
        },
    ),
    "requests": Shape(
        20,
        {
            "id": _USER,
            "user_id": _USER,
            "project_id": _USER,
            "input_registry": "'docker.io'",
            "input_image_name": "concat('lab/generated-', i)",
            "input_tag": "'v1'",
            "status": "'pending'",
            **_MADE,
        },
    ),
    "workloads": Shape(
        10,
        {
            "id": _USER,
            "user_id": _USER,
            "project_id": _at("i / 2"),
            "name": "concat('generated-', i)",
            "namespace": "'generated'",
            "image": "'nginx:1.27'",
            "status": "'Succeeded'",
            "k8s_pod_name": "concat('generated-', i)",
            **_MADE,
        },
    ),
    "audit": Shape(
        1,
        {
            "id": _USER,
            "user_id": _USER,
            "action": "'create'",
            "resource_type": "'user_group'",
            "resource_id": f"concat('u_id=', {FIRST} + i, ',g_id=', {FIRST} + floor(i / 100))",
            "created_at": "{moment}",
        },
    ),
}


def generated_counts(flavour: Flavour, scale: int) -> dict[str, int]:
    """How many rows of each noun so many users bring with them."""
    if not scale:
        return {}
    return {noun: -(-scale // shape.users) for noun, shape in _SHAPES.items() if noun in flavour.tables}


def generating_statements(flavour: Flavour, scale: int, columns_of: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """The statements that add them, parents first. `columns_of` tells a table's columns."""
    dialect = _DIALECTS[flavour.engine]
    for noun, count in generated_counts(flavour, scale).items():
        table = flavour.tables[noun]
        there = set(columns_of(table))
        expressions = {flavour.column(noun, name): text for name, text in _SHAPES[noun].columns.items()}
        kept = {column: _spelt(flavour, column, text) for column, text in expressions.items() if column in there}
        series = dialect.series.replace("{last}", str(count - 1))
        yield f"INSERT INTO {table} ({', '.join(kept)}) SELECT {', '.join(kept.values())} FROM {series}"


def _spelt(flavour: Flavour, column: str, text: str) -> str:
    dialect = _DIALECTS[flavour.engine]
    if column == "type" and "lower-case kinds" in flavour.lets:
        return text.lower()
    if column == "resource_id" and "numbers in audit" in flavour.lets:
        return _USER
    return text.replace("{moment}", dialect.moment).replace("{document}", dialect.document.replace("{text}", _DOCUMENT))
