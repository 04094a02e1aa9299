"""All that a namespace of old tables holds beside rows, as text: what must be the same after a way out and back."""

from typing import Any

from tests.operations.legacy.loading import LegacyDatabase

Catalogue = dict[str, list[tuple[Any, ...]]]

_POSTGRESQL = {
    "relations": (
        "SELECT relname, relkind::text, relpersistence::text, relowner::regrole::text, relrowsecurity,"
        " array(SELECT unnest(relacl)::text ORDER BY 1), reloptions, obj_description(oid, 'pg_class'),"
        " pg_get_expr(relpartbound, oid)"
        " FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relkind <> 't' ORDER BY relname"
    ),
    "columns": (
        "SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),"
        " attidentity::text, attgenerated::text, attcollation::regcollation::text, attstorage::text,"
        " array(SELECT unnest(attacl)::text ORDER BY 1), col_description(c.oid, attnum)"
        " FROM pg_class c JOIN pg_attribute ON attrelid = c.oid"
        " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE relnamespace = '{}'::regnamespace AND attnum > 0 AND NOT attisdropped"
        " ORDER BY relname, row_number() OVER (PARTITION BY c.oid ORDER BY attnum)"
    ),
    "constraints": (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated,"
        " obj_description(oid, 'pg_constraint')"
        " FROM pg_constraint WHERE connamespace = '{}'::regnamespace ORDER BY 1, 2"
    ),
    "indexes": (
        "SELECT pg_get_indexdef(indexrelid), indisclustered, indisreplident, obj_description(indexrelid, 'pg_class')"
        " FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relnamespace = '{}'::regnamespace ORDER BY 1"
    ),
    "sequences": (
        "SELECT c.relname, seqtypid::regtype::text, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle,"
        " o.relname, attname FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid"
        " LEFT JOIN pg_depend ON objid = seqrelid AND deptype IN ('a', 'i') AND refclassid = 'pg_class'::regclass"
        " LEFT JOIN pg_class o ON o.oid = refobjid"
        " LEFT JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid"
        " WHERE c.relnamespace = '{}'::regnamespace ORDER BY 1"
    ),
    "inheritance": (
        "SELECT inhrelid::regclass::text, inhparent::regclass::text, inhseqno FROM pg_inherits"
        " JOIN pg_class ON oid = inhrelid WHERE relnamespace = '{}'::regnamespace ORDER BY 1, 2"
    ),
    "types": (
        "SELECT typname, typtype::text, typowner::regrole::text, typnotnull, typdefault,"
        " array(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder),"
        " array(SELECT unnest(typacl)::text ORDER BY 1), obj_description(oid, 'pg_type')"
        " FROM pg_type t WHERE typnamespace = '{}'::regnamespace ORDER BY typname"
    ),
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = '{}' ORDER BY 1",
    "materialized views": (
        "SELECT matviewname, definition, ispopulated FROM pg_matviews WHERE schemaname = '{}' ORDER BY 1"
    ),
    "functions": (
        "SELECT pg_get_functiondef(oid), proowner::regrole::text, array(SELECT unnest(proacl)::text ORDER BY 1)"
        " FROM pg_proc WHERE pronamespace = '{}'::regnamespace ORDER BY 1"
    ),
    "triggers": (
        "SELECT pg_get_triggerdef(t.oid), tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid"
        " WHERE relnamespace = '{}'::regnamespace AND NOT tgisinternal ORDER BY 1"
    ),
    "policies": "SELECT policyname, tablename, cmd, qual FROM pg_policies WHERE schemaname = '{}' ORDER BY 1",
}
_TRIGGERS = (
    "SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_statement, sql_mode, definer"
    " FROM information_schema.triggers WHERE trigger_schema = '{}' ORDER BY 1"
)
_ROUTINES = (
    "SELECT routine_name, routine_type, routine_definition, sql_mode, definer, is_deterministic, routine_comment"
    " FROM information_schema.routines WHERE routine_schema = '{}' ORDER BY 1"
)
_EVENTS = (
    "SELECT event_name, event_definition, interval_value, interval_field, status, definer"
    " FROM information_schema.events WHERE event_schema = '{}' ORDER BY 1"
)
_VIEWS = (
    "SELECT table_name, view_definition, check_option, security_type, definer, algorithm"
    " FROM information_schema.views WHERE table_schema = '{}' ORDER BY 1"
)
_TABLES = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = '{}' ORDER BY 1"


def catalogue_of(database: LegacyDatabase, namespace: str) -> Catalogue:
    """The catalogue of a schema of PostgreSQL, or of a database of MariaDB."""
    if database.engine == "postgresql":
        return _of_schema(database, namespace)
    return _of_database(database, namespace)


def _of_schema(database: LegacyDatabase, namespace: str) -> Catalogue:
    found = {what: database.run(query.format(namespace)) for what, query in _POSTGRESQL.items()}
    found["positions"] = [
        (sequence[0], *database.run(f'SELECT last_value, is_called FROM {namespace}."{sequence[0]}"')[0])
        for sequence in found["sequences"]
    ]
    return found


def _of_database(database: LegacyDatabase, namespace: str) -> Catalogue:
    tables = database.run(_TABLES.format(namespace))
    return {
        "tables": tables,
        "definitions": [
            # It names the position of AUTO_INCREMENT, too.
            (name, database.run(f"SHOW CREATE TABLE `{namespace}`.{quoted(name)}")[0][1])
            for name, _ in tables
        ],
        "positions": [
            (name, *database.run(f"SELECT next_not_cached_value, start_value FROM `{namespace}`.`{name}`")[0])
            for name, kind in tables
            if kind == "SEQUENCE"
        ],
        "views": database.run(_VIEWS.format(namespace)),
        "triggers": database.run(_TRIGGERS.format(namespace)),
        "routines": database.run(_ROUTINES.format(namespace)),
        "events": database.run(_EVENTS.format(namespace)),
    }


def quoted(name: str) -> str:
    """A name as MariaDB takes any."""
    return "`" + name.replace("`", "``") + "`"
