"""Old tables set aside as a switch leaves them, with all sorts of things beside them that a dump must bring back."""

from typing import Any

import msgspec

from holdfast.db.address import DatabaseAddress, parse_address
from tests.operations.legacy.loading import LegacyDatabase, open_legacy
from tests.operations.legacy.old_catalogue import Catalogue, catalogue_of, quoted

_SCHEMA = "holdfast_before"
_SUFFIX = "_holdfast_before"
# Owned sequences and the indexes go with their tables.
_MOVE_ALL = """
CREATE SCHEMA holdfast_before;
DO $$ DECLARE each record; BEGIN
FOR each IN SELECT format('%s %I', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
        WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname) AS thing
    FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i')
        AND refclassid = 'pg_class'::regclass AND relkind = 'S')
LOOP EXECUTE format('ALTER %s SET SCHEMA holdfast_before', each.thing); END LOOP;
FOR each IN SELECT typname FROM pg_type t WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
LOOP EXECUTE format('ALTER TYPE public.%I SET SCHEMA holdfast_before', each.typname); END LOOP;
FOR each IN SELECT oid::regprocedure AS thing FROM pg_proc WHERE pronamespace = 'public'::regnamespace
LOOP EXECUTE format('ALTER FUNCTION %s SET SCHEMA holdfast_before', each.thing); END LOOP;
END $$;
"""
_ODD_POSTGRESQL = r"""
CREATE TABLE odd (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 3) PRIMARY KEY,
    number serial,
    mood user_status NOT NULL DEFAULT 'offline',
    moods user_status[],
    real_one real, double_one double precision, exact numeric, money_one money,
    at timestamptz, at_local timestamp(3), days interval, day date,
    bytes bytea, plain json, packed jsonb, words text COLLATE "C", flags bit(5), place inet,
    doubled bigint GENERATED ALWAYS AS (number * 2) STORED,
    gone int,
    CONSTRAINT odd_is_positive CHECK (number > 0)
);
ALTER TABLE odd DROP COLUMN gone;
ALTER TABLE odd ADD COLUMN late text DEFAULT 'it was there all along';
ALTER TABLE odd ADD CONSTRAINT odd_words CHECK (length(words) < 5) NOT VALID;
INSERT INTO odd (mood, real_one, double_one, exact, at, at_local, days, bytes, plain, packed, words, flags, place)
VALUES ('online', 'NaN', '-Infinity', 'NaN', 'infinity', '0044-03-15 12:00:00.123 BC', '-1 mon 3 days 00:00:00.000001',
        '\x00ff5c', '{ "b": 1,  "a": 2, "a": 3}', '{"b": 1, "a": [null, "\u00e9"]}', '', B'10101', '10.0.0.0/8'),
       ('offline', 0.1, 0.1::double precision + 0.2::double precision, 1e-30, NULL, NULL, NULL, '', NULL, 'null',
        NULL, NULL, NULL),
       ('offline', 16777217, 5e-324, 12345678901234567890.123456789000, '0001-01-01', NULL, '0', NULL, '[]', '"x"',
        E'a\tb', NULL, '::1');
INSERT INTO odd (words, moods) VALUES (E'\\.\n', '{online,NULL}'), (',"(', '{}');
COMMENT ON TABLE odd IS 'all that is ''odd''';
COMMENT ON COLUMN odd.words IS E'two\nlines';
COMMENT ON CONSTRAINT odd_is_positive ON odd IS 'as it should';
COMMENT ON TYPE user_status IS 'whether somebody is there';
CREATE UNIQUE INDEX odd_lower ON odd (lower(words), number DESC NULLS LAST) WHERE mood <> 'delete';
COMMENT ON INDEX odd_lower IS 'half of it';
CREATE TABLE "Or""der" ("Key" text, "select" int);
INSERT INTO "Or""der" VALUES ('b', 1), ('a', 2), ('a', 2), (NULL, NULL), ('', 0);
CREATE UNLOGGED TABLE unlogged_one (name varchar(5) PRIMARY KEY);
INSERT INTO unlogged_one VALUES ('b'), ('A'), ('a');
CREATE TABLE split (id int, part int) PARTITION BY LIST (part);
CREATE TABLE split_1 PARTITION OF split FOR VALUES IN (1);
CREATE TABLE split_rest PARTITION OF split DEFAULT;
INSERT INTO split SELECT n, n % 3 FROM generate_series(1, 30) n;
CREATE TABLE elder (id int PRIMARY KEY);
CREATE TABLE younger (name text) INHERITS (elder);
INSERT INTO elder VALUES (1);
INSERT INTO younger VALUES (2, 'child');
CREATE DOMAIN short_word AS varchar(10) CHECK (value <> 'no');
CREATE SEQUENCE fresh START 7;
CREATE SEQUENCE used INCREMENT 10 MAXVALUE 1000 CYCLE;
SELECT nextval('used'), nextval('used');
CREATE TABLE word_list (word short_word, place bigint DEFAULT nextval('used'));
CREATE VIEW odd_view AS SELECT id, words FROM odd WHERE mood = 'online';
CREATE MATERIALIZED VIEW odd_sums AS SELECT mood, count(*) AS rows FROM odd GROUP BY mood;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$;
CREATE TRIGGER odd_touched BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE odd DISABLE TRIGGER odd_touched;
CREATE RULE no_removal AS ON DELETE TO word_list DO INSTEAD NOTHING;
ALTER TABLE word_list ENABLE ROW LEVEL SECURITY;
CREATE POLICY short ON word_list USING (length(word) < 8);
GRANT SELECT ON odd TO PUBLIC;
GRANT UPDATE (words) ON odd TO PUBLIC;
"""
_ODD_MARIADB = [
    """CREATE TABLE odd (
        id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY COMMENT 'of the ''row''',
        real_one FLOAT, double_one DOUBLE, exact DECIMAL(40, 20),
        at DATETIME(3), moment TIMESTAMP(6) NULL, took TIME(6), in_year YEAR, flags BIT(9),
        mood ENUM('on', 'off') NOT NULL DEFAULT 'off', moods SET('a', 'b'),
        raw_bytes LONGBLOB, fixed BINARY(4), old_text VARCHAR(20) CHARACTER SET latin1, words TEXT COLLATE utf8mb4_bin,
        packed JSON, spot POINT, uuid_one UUID, place INET6,
        doubled BIGINT AS (in_year * 2) STORED, tripled BIGINT AS (in_year * 3) VIRTUAL,
        unseen INT INVISIBLE DEFAULT 7,
        CONSTRAINT odd_year CHECK (in_year > 1950),
        UNIQUE KEY odd_words (words(20), mood), KEY odd_down (double_one DESC)
    ) COMMENT = 'all that is odd' ROW_FORMAT = COMPRESSED""",
    r"""INSERT INTO odd (real_one, double_one, exact, at, moment, took, in_year, flags, mood, moods, raw_bytes, fixed,
        old_text, words, packed, spot, uuid_one, place, unseen)
    VALUES (1.5, 0.1e0 + 0.2e0, 12345678901234567890.12345678901234567890, '2026-03-29 02:30:00.123',
        '2026-10-25 01:30:00.000001', '-838:59:59.999999', 1999, b'101', 'on', 'a,b', x'00ff5c270a0d1a', x'0102',
        'déjà €', '\0\Z\n\r\\ \' \" 😀', '{ "b": 1, "a": 2 }', POINT(1, 2.5), uuid(), '::1', NULL),
        (NULL, 5e-324, -0.00000000000000000001, '0000-00-00', NULL, NULL, NULL, NULL, 'nope', '', '', NULL, '', '',
        'no json', NULL, NULL, NULL, 9),
        (0.1, 1.7976931348623157e308, NULL, '1000-01-01', NULL, '00:00:00', 2020, b'0', 'off', NULL, NULL, NULL, NULL,
        'trailing  ', 'null', NULL, NULL, NULL, 7)""",
    "ALTER TABLE odd AUTO_INCREMENT = 5000",
    "CREATE TABLE `Or``der` (`Key` VARCHAR(5), `select` INT)",
    "INSERT INTO `Or``der` VALUES ('b', 1), ('a', 2), ('a', 2), (NULL, NULL), ('', 0), ('B', 1)",
    "CREATE TABLE by_name (name VARCHAR(20) PRIMARY KEY) CHARACTER SET latin1",
    "INSERT INTO by_name VALUES ('b'), ('Ä'), ('a1')",
    "CREATE TABLE split (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3",
    "INSERT INTO split SELECT seq FROM seq_1_to_30",
    (
        "CREATE TABLE child (id INT PRIMARY KEY, odd_id INT UNSIGNED,"
        " CONSTRAINT child_of_odd FOREIGN KEY (odd_id) REFERENCES odd (id) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    "INSERT INTO child VALUES (1, 1), (2, NULL)",
    "CREATE TABLE beside (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = MyISAM",
    "INSERT INTO beside VALUES (), ()",
    "CREATE SEQUENCE used START WITH 5 INCREMENT BY 10",
    "DO nextval(used)",
]
# What RENAME TABLE does not take along, made where the tables are afterwards.
_ODD_MARIADB_THERE = [
    "CREATE TRIGGER odd_touched BEFORE UPDATE ON odd FOR EACH ROW BEGIN\r\n -- as it was\n SET NEW.unseen = 1; END",
    "CREATE PROCEDURE count_odd() COMMENT 'how many' BEGIN\r\n SELECT count(*) FROM odd;\r\nEND",
    "CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
    "CREATE VIEW odd_view AS SELECT id, twice(id) AS doubled FROM odd WHERE mood = 'on' WITH CHECK OPTION",
    "CREATE EVENT odd_event ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM child",
]


class Old(msgspec.Struct, frozen=True):
    """Old tables that were set aside: the database that they came from, and their namespace."""

    url: str
    namespace: str

    @property
    def address(self) -> DatabaseAddress:
        return parse_address(self.url)

    @property
    def url_there(self) -> str:
        """A URL whose connections are in the namespace."""
        if self.address.dialect_name == "mariadb":
            return self.address.with_database(self.namespace).text
        return self.url

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement, with `{there}` for the namespace."""
        with open_legacy(self.url) as database:
            return database.run(statement.replace("{there}", self.namespace), *values)

    def catalogue(self) -> Catalogue:
        with open_legacy(self.url) as database:
            return catalogue_of(database, self.namespace)

    def drop(self) -> None:
        """As phase 5 does."""
        kind, cascade = ("SCHEMA", " CASCADE") if self.address.dialect_name == "postgresql" else ("DATABASE", "")
        self.run(f"DROP {kind} {{there}}{cascade}")

    def is_there(self) -> bool:
        query = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = %s"
        return bool(self.run(query, self.namespace)[0][0])


def add_odd_things(url: str) -> None:
    """Tables of every type of column, and whatever else may stand beside them."""
    with open_legacy(url) as database:
        if database.engine == "postgresql":
            database.run_script(_ODD_POSTGRESQL)
            return
        _run_all(database, _ODD_MARIADB)


def set_aside(url: str) -> Old:
    """Move all that a database holds to where a switch leaves it."""
    address = parse_address(url)
    with open_legacy(url) as database:
        if database.engine == "postgresql":
            database.run_script(_MOVE_ALL)
            return Old(url, _SCHEMA)
        namespace = address.database_name + _SUFFIX
        database.run(f"CREATE DATABASE {namespace}")
        tables = database.run(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            " AND table_type IN ('BASE TABLE', 'SEQUENCE')"
        )
        for (name,) in tables:
            database.run(f"RENAME TABLE {quoted(name)} TO {namespace}.{quoted(name)}")
    return Old(url, namespace)


def add_odd_things_there(old: Old) -> None:
    """What MariaDB's RENAME TABLE does not take along."""
    if old.address.dialect_name == "mariadb":
        with open_legacy(old.url_there) as database:
            _run_all(database, _ODD_MARIADB_THERE)


def _run_all(database: LegacyDatabase, statements: list[str]) -> None:
    database.run("SET sql_mode = '', check_constraint_checks = 0")
    for statement in statements:
        database.run(statement)
