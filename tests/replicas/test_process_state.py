"""Nothing is kept in a process that another one would need: every place where modules keep something is named here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast

_SOURCE = Path(holdfast.__path__[0])
# What a module may keep between two requests, and why another process does not miss it.
KEPT = {
    "api/observation.py: _under_way": "how many requests this process answers at the moment, for its own /metrics",
    "core/logs.py: _request_lines": "the file that this process writes its log to",
    "core/logs.py: request_id": "of the request under way",
    "db/engines/mariadb_node.py: @lru_cache": "the text of statements",
    "db/engines/mariadb_transaction.py: @lru_cache": "the text of statements",
    "db/engines/postgresql.py: @lru_cache": "the text of statements",
    "db/jobs.py: _under_way": "of the job under way",
    "db/lifecycle/closure.py: @cache": "statements made from the tables",
    "db/lifecycle/deletion_closure.py: @cache": "statements made from the tables",
    "db/lifecycle/graph.py: @cached_property": "the graph of the tables",
    "db/lifecycle/row_format.py: @cache": "the format of each table",
    "db/lifecycle/trash.py: @cache": "statements made from the tables",
    "db/listing.py: listings": "the lists that the code declares, filled while it is loaded",
    "db/request_statements.py: request_statements": "of the request under way",
    "db/statements.py: @cache": "the columns of types that the code declares",
    "features/audit/service.py: @lru_cache": "whether a word names a secret",
    "operations/doctor/mark_queries.py: @cache": "statements made from the tables",
    "operations/doctor/orphan_queries.py: @cache": "statements made from the tables",
}
_CACHES = {"cache", "lru_cache", "cached_property"}
_CONTAINERS = {"dict", "list", "set", "defaultdict", "deque", "Counter", "OrderedDict", "WeakValueDictionary"}
_CHANGES = {"add", "append", "appendleft", "clear", "extend", "insert", "pop", "remove", "setdefault", "update"}


def _kept(text: str) -> Iterator[str]:
    """What a module keeps: containers and globals that its functions change, context variables, and caches."""
    tree = ast.parse(text)
    top = dict(_assigned(tree))
    changed = set(_changed(tree))
    for name, value in top.items():
        if _called(value) == "ContextVar" or (name in changed and _is_container(value)):
            yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                name = _called(decorator) or getattr(decorator, "id", getattr(decorator, "attr", ""))
                if name in _CACHES:
                    yield f"@{name}"


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def _changed(tree: ast.Module) -> Iterator[str]:
    """Names whose content a statement changes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield getattr(node.value, "id", "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            yield getattr(node.func.value, "id", "")
        elif isinstance(node, ast.AugAssign):
            yield getattr(node.target, "id", "")


def _called(value: ast.expr) -> str:
    if not isinstance(value, ast.Call):
        return ""
    name: str = getattr(value.func, "id", getattr(value.func, "attr", ""))
    return name


def _is_container(value: ast.expr) -> bool:
    return isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp) or (
        _called(value) in _CONTAINERS
    )


def _found() -> dict[str, str]:
    """Each thing that a module keeps, with where. The command line keeps nothing for another command."""
    return {
        f"{path.relative_to(_SOURCE).as_posix()}: {name}": name
        for path in sorted(_SOURCE.rglob("*.py"))
        if path.relative_to(_SOURCE).parts[0] != "cli"
        for name in _kept(path.read_text(encoding="utf-8"))
    }


def test_what_modules_keep_is_of_no_use_to_another_process() -> None:
    unexplained = sorted(set(_found()) - set(KEPT))
    assert unexplained == [], "say in KEPT why no other server or worker needs it, or make it a row:\n" + "\n".join(
        unexplained
    )


def test_every_explanation_is_still_needed() -> None:
    assert sorted(set(KEPT) - set(_found())) == []


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("seen = {}\ndef f(x):\n    seen[x] = 1\n", ["seen"]),
        ("seen: set[str] = set()\ndef f(x):\n    seen.add(x)\n", ["seen"]),
        ("count = 0\ndef f():\n    global count\n    count += 1\n", ["count"]),
        ("@lru_cache(maxsize=5)\ndef f():\n    return 1\n", ["@lru_cache"]),
        ("import functools\n@functools.cache\ndef f():\n    return 1\n", ["@cache"]),
        ("NAMES = {'a': 1}\ndef f(x):\n    return NAMES[x]\n", []),
        ("def f(x):\n    seen = {}\n    seen[x] = 1\n    return seen\n", []),
    ],
)
def test_what_is_kept_is_found(code: str, kept: list[str]) -> None:
    assert list(_kept(code)) == kept
