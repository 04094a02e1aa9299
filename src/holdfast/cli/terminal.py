"""What people see: tables, records and sentences on a terminal, or the server's JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Into a file or a pipe, a row is one line, however long: programs and grep read it.
_WIDTH_OF_FILES = 100_000
# Line ends, and the joiners without which Persian, Hindi and some emoji cannot be written.
_HARMLESS = "\n\t\u200c\u200d"
_IDS = ("id", "u_id", "g_id", "p_id", "cf_id", "r_id")


def visible(text: str) -> str:
    """The text with control characters made harmless: what others wrote must not drive the reader's terminal."""
    return "".join(_visible_character(character) for character in text)


def print_json(value: Any) -> None:
    """The value as JSON on standard output, and nothing else there."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """The rows as a table headed by the fields' names. A dotted column looks into an object: `user.username`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        is_id = column.rpartition(".")[2] in _IDS
        table.add_column(column, no_wrap=is_id, overflow="fold", style="cyan" if is_id else "")
    for row in rows:
        table.add_row(*(Text(shown(_value_at(row, column), column)) for column in columns))
    output().print(table)


def print_record(record: Mapping[str, Any], fields: Sequence[str]) -> None:
    """One object, a field a line; fields that it does not have are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for field in fields:
        value = _value_at(record, field)
        if value is not None:
            table.add_row(field, Text(shown(value, field)))
    output().print(table)


def print_sentence(text: str) -> None:
    """A sentence on standard output."""
    typer.echo(visible(text))


def print_note(text: str) -> None:
    """A remark on standard error, so that standard output stays clean for programs."""
    typer.echo(visible(text), err=True)


def shown(value: Any, field: str = "") -> str:
    """A value as people read it: no null, yes and no, times to the second in UTC."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and field.endswith("_at") and value[10:11] == "T":
        return visible(value[:19].replace("T", " ")) + "Z"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return visible(" ".join(value))
    if isinstance(value, dict | list):
        return visible(json.dumps(value, ensure_ascii=False))
    return visible(str(value))


def output() -> Console:
    """Standard output; colour and the terminal's width only where it is a terminal."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES, highlight=False, markup=False, emoji=False)


def error_output() -> Console:
    """Standard error, for progress bars: nothing is drawn where it is no terminal."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def _value_at(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _visible_character(character: str) -> str:
    if character in _HARMLESS or character.isprintable():
        return character
    # Directions that run backwards, escape sequences and the like; spaces of other scripts are not printable to
    # Python, yet harmless.
    return " " if character.isspace() and ord(character) > 0xA0 else f"\\x{ord(character):02x}"
