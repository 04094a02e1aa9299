"""The cascade graph: what it says of the tables, and that the live catalogue of each engine says the same."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, ForeignKey, MetaData, String, Table, inspect

from holdfast.db.address import parse_address
from holdfast.db.errors import SchemaDriftError
from holdfast.db.lifecycle.graph import GRAPH, LONGEST_PATH, CascadeGraph, Edge, Rule
from holdfast.db.migrate import check_schema, migrate
from holdfast.db.tables.base import policy_of
from tests.conftest import NewDatabase
from tests.db.live import other_connection

Named = tuple[str, str, str, str, str]


def _named(edge: Edge) -> Named:
    return (edge.child.name, edge.column.name, edge.parent.name, edge.key.name, str(edge.rule))


def _live_edges(url: str) -> Iterator[Named]:
    """The foreign keys as the engine's own catalogue tells them."""
    with other_connection(url) as connection:
        for (_, table), keys in inspect(connection).get_multi_foreign_keys().items():
            for key in keys:
                (column,), (parent_key,) = key["constrained_columns"], key["referred_columns"]
                rule = str(key["options"].get("ondelete", "NO ACTION")).upper()
                yield (table, column, key["referred_table"], parent_key, rule)


def _longest(edges: set[Named]) -> int:
    """How many tables the longest cascade passes through, found without the graph."""
    parents: dict[str, set[str]] = {}
    for child, _, parent, _, rule in edges:
        if rule == "CASCADE":
            parents.setdefault(child, set()).add(parent)

    def length(table: str) -> int:
        return 1 + max((length(parent) for parent in parents.get(table, ())), default=0)

    return max(length(table) for table in parents)


async def test_the_live_catalogue_has_the_edges_of_the_graph(url: str) -> None:
    found = set(_live_edges(url))
    assert found == {_named(edge) for edge in GRAPH.edges}
    assert len(found) == len(GRAPH.edges)
    assert {rule for *_, rule in found} == {"CASCADE", "SET NULL"}


async def test_no_cascade_is_longer_than_the_engines_follow(url: str) -> None:
    assert _longest(set(_live_edges(url))) == GRAPH.longest_path
    assert GRAPH.longest_path <= LONGEST_PATH, (
        "MariaDB stops a cascade at fifteen levels: let the new table hang on one that is nearer to the top"
    )


async def test_a_foreign_key_whose_rule_was_changed_by_hand_is_refused_by_name(
    engine: str, new_database: NewDatabase
) -> None:
    url = new_database(engine)
    address = parse_address(url)
    await migrate(address)
    for edge in GRAPH.edges:
        _forbid(url, engine, edge)
    with pytest.raises(SchemaDriftError) as refused:
        await check_schema(address)
    for edge in GRAPH.edges:
        name = f"fk_{edge.child.name}_{edge.column.name}"
        target = f"{edge.parent.name}.{edge.key.name}"
        finding = f"foreign key {name} is {target} NO ACTION CASCADE, not {target} {edge.rule} CASCADE"
        assert finding in refused.value.message


def _forbid(url: str, engine: str, edge: Edge) -> None:
    """Let the engine refuse the removal of a parent instead of following the edge."""
    target = f"{edge.parent.name} ({edge.key.name})"
    name = f"fk_{edge.child.name}_{edge.column.name}"
    key = f"FOREIGN KEY ({edge.column.name}) REFERENCES {target} ON DELETE NO ACTION ON UPDATE CASCADE"
    statements = [
        f"ALTER TABLE {edge.child.name} DROP {'FOREIGN KEY' if engine == 'mariadb' else 'CONSTRAINT'} {name}",
        f"ALTER TABLE {edge.child.name} ADD CONSTRAINT {name} {key}",
    ]
    if engine == "sqlite":
        old = f"FOREIGN KEY({edge.column.name}) REFERENCES {target} ON DELETE {edge.rule}"
        new = old.removesuffix(str(edge.rule)) + "NO ACTION"
        statements = [
            "PRAGMA writable_schema = ON",
            f"UPDATE sqlite_master SET sql = replace(sql, '{old}', '{new}') WHERE name = '{edge.child.name}'",
        ]
    with other_connection(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_parents_stand_before_their_children() -> None:
    place = {table.name: index for index, table in enumerate(GRAPH.tables)}
    assert all(place[edge.parent.name] < place[edge.child.name] for edge in GRAPH.edges)
    assert [edge.child.name for edge in GRAPH.edges] == sorted(
        (edge.child.name for edge in GRAPH.edges), key=lambda name: place[name]
    )


def test_what_hangs_on_a_project() -> None:
    project = GRAPH.root_types["project"]
    assert {table.name for table in GRAPH.beneath(project)} == {
        "project_list",
        "config_files",
        "resources",
        "forms",
        "form_messages",
        "image_requests",
        "image_allow_list",
        "course_workloads",
    }
    assert {edge.name for edge in GRAPH.unlinks_from(GRAPH.root_types["user"])} == {"image_requests.reviewer_id"}
    assert {edge.name for edge in GRAPH.cascades_into(GRAPH.root_types["form"])} == {
        "forms.project_id",
        "forms.user_id",
    }


def test_the_longest_path_counts_cascades_only() -> None:
    source = MetaData()
    Table("above", source, Column("id", String(5), primary_key=True))
    for name, parent, rule in (
        ("middle", "above", "CASCADE"),
        ("low", "middle", "CASCADE"),
        ("beside", "low", "SET NULL"),
    ):
        Table(
            name,
            source,
            Column("id", String(5), primary_key=True),
            Column("parent", ForeignKey(f"{parent}.id", ondelete=rule)),
        )
    graph = CascadeGraph(source)
    assert graph.longest_path == 3
    assert [edge.rule for edge in graph.edges] == [Rule.CASCADE, Rule.CASCADE, Rule.SET_NULL]
    assert [table.name for table in graph.beneath(source.tables["above"])] == ["above", "middle", "low"]


def test_a_table_without_a_policy_is_told_what_to_add() -> None:
    table = Table("plain", MetaData(), Column("id", String(5), primary_key=True))
    with pytest.raises(TypeError, match=r"plain has no policy: make it with define_table\(…, policy=TablePolicy"):
        policy_of(table)
