"""Ways past the registry: what reaches the database without being a named statement, found in the source.

A statement that is not in the registry has no reviewed plan, no budget, no time in the metrics, and sees deleted rows.
"""

import ast
from collections.abc import Iterator

# What these are given, they run, whatever it is.
_RUN_TEXT = frozenset({"fetch_text", "exec_driver_sql", "executescript", "executemany", "fetchrow", "fetchval"})
_RUN = frozenset({"execute", "fetch", "fetch_all", "fetch_one", "fetch_count", "fetch_pages", "cursor", "prepare"})
_MAKE = frozenset({"select", "insert", "update", "delete", "text"})
_DRIVERS = frozenset({"aiosqlite", "asyncmy", "asyncpg", "psycopg", "pymysql", "pysqlite3", "sqlite3"})
_OPEN = frozenset({"create_engine", "create_async_engine", "sqlite3"})
_VERBS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "REPLACE ", "CREATE ", "DROP ", "ALTER ", "PRAGMA ")


def ways_past_registry(source: str, path: str) -> Iterator[str]:
    """A sentence for each place in a module that runs what is no named statement."""
    tree = ast.parse(source)
    text_names = _names_of_text(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            continue
        told = _run_in(node, text_names) if isinstance(node, ast.Call) else _driver_in(node)
        if told:
            yield f"{path}, line {node.lineno}: {told} passes the registry: declare it in a queries.py, with a name"


def _driver_in(node: ast.Import | ast.ImportFrom) -> str | None:
    """The driver that is imported, or what opens connections of its own."""
    if isinstance(node, ast.Import):
        names = {each.name.partition(".")[0] for each in node.names} & _DRIVERS
    else:
        module = (node.module or "").partition(".")[0]
        names = {module} & _DRIVERS or {each.name for each in node.names} & _OPEN
    return f"what {', '.join(sorted(names))} runs" if names else None


def _run_in(call: ast.Call, text_names: frozenset[str]) -> str | None:
    """What a call runs that bears no name."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = call.args[0] if call.args else None
    if name in _RUN_TEXT:
        return _shown(given) if given is not None else f"{name}()"
    if ast.unparse(call.func) in text_names:
        return _shown(given) if given is not None else "a text"
    if name in _RUN and isinstance(call.func, ast.Attribute) and given is not None and _is_statement(given):
        return _shown(given)
    return None


def _is_statement(given: ast.expr) -> bool:
    """Whether this is SQL as text, or a statement that is made where it is run."""
    if isinstance(given, ast.Call):
        made = given
        while isinstance(made.func, ast.Attribute) and isinstance(made.func.value, ast.Call):
            made = made.func.value
        return isinstance(made.func, ast.Name) and made.func.id in _MAKE
    if isinstance(given, ast.BinOp):
        return _is_statement(given.left)
    if isinstance(given, ast.JoinedStr):
        return bool(given.values) and (_is_statement(given.values[0]) or not isinstance(given.values[0], ast.Constant))
    text = given.value if isinstance(given, ast.Constant) else None
    return isinstance(text, str) and text.lstrip().upper().startswith(_VERBS)


def _names_of_text(tree: ast.AST) -> frozenset[str]:
    """How the module writes `sqlalchemy.text`, if it can."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sqlalchemy":
            names |= {each.asname or each.name for each in node.names if each.name in ("text", "TextClause")}
        elif isinstance(node, ast.Import):
            names |= {f"{each.asname or each.name}.text" for each in node.names if each.name == "sqlalchemy"}
    return frozenset(names)


def _shown(given: ast.expr) -> str:
    """The statement itself where it can be read, else the code that makes it."""
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return repr(" ".join(given.value.split()))
    return ast.unparse(given)
