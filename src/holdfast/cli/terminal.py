"""What people see: tables, records and sentences on a terminal, or the server's JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Into a file or a pipe, a row is one line, however long: programs and grep read it.
_WIDTH_OF_FILES = 100_000
# Columns: between two of them; up to here never cut; and so much of a long text tells what it is.
_GAP = 2
_SHORT = 17
_READABLE = 25
# Line ends, and the joiners without which Persian, Hindi and some emoji cannot be written.
_HARMLESS = "\n\t\u200c\u200d"
_IDS = ("id", "u_id", "g_id", "p_id", "cf_id", "r_id", "resource_id")


def visible(text: str) -> str:
    """The text with control characters made harmless: what others wrote must not drive the reader's terminal."""
    return "".join(_visible_character(character) for character in text)


def print_json(value: Any) -> None:
    """The value as JSON on standard output, and nothing else there."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], spare: Sequence[str] = ()) -> None:
    """The rows as a table headed by the fields' names, a line a row.

    A terminal shows as many of the spare columns as it has room for, the first ones first, and none that is empty. A
    spare column has its place among `columns` where it is named there too, else it comes after them. Where there is
    too little room for the others, long texts are cut and end in `…`; ids, times and short words never are.
    """
    console = output()
    ordered = dict.fromkeys((*columns, *spare))
    cells = {column: [_shown_in_table(row.get(column), column) for row in rows] for column in ordered}
    widths = {column: max(cell_len(text) for text in (column, *texts)) for column, texts in cells.items()}
    needed = [column for column in columns if column not in spare]
    wanted = [column for column in spare if any(cells[column]) or not sys.stdout.isatty()]
    fitting = _that_fit(widths, needed, wanted, console.width)
    shown_columns = [column for column in ordered if column in needed or column in fitting]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown_columns:
        is_whole = column in _IDS or _is_time(column) or widths[column] <= _SHORT
        table.add_column(_one_line(column), no_wrap=is_whole, style="cyan" if column in _IDS else "")
    for line in zip(*(cells[column] for column in shown_columns), strict=True):
        table.add_row(*map(_one_line, line))
    console.print(table)


def print_record(record: Mapping[str, Any], fields: Sequence[str]) -> None:
    """One object, a field a line; fields that it does not have are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for field in fields:
        value = record.get(field)
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
    if _is_time(field) and isinstance(value, str) and value[10:11] == "T":
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


def _shown_in_table(value: Any, column: str) -> str:
    """As `shown`, but times to the minute: one that comes in words already keeps its seconds."""
    text = shown(value, column)
    return f"{text[:16]}Z" if _is_time(column) and text and text != value else text


def _is_time(field: str) -> bool:
    return field.endswith("_at")


def _that_fit(widths: Mapping[str, int], columns: Sequence[str], spare: Sequence[str], width: int) -> list[str]:
    """The spare columns, in their order, for which there is room when every long text is cut to a readable length."""
    used = sum(min(widths[column], _READABLE) + _GAP for column in columns)
    fitting = []
    for column in spare:
        used += min(widths[column], _READABLE) + _GAP
        if used - _GAP > width:
            break
        fitting.append(column)
    return fitting


def _one_line(text: str) -> Text:
    return Text(" ".join(text.splitlines()), no_wrap=True, overflow="ellipsis")


def _visible_character(character: str) -> str:
    if character in _HARMLESS or character.isprintable():
        return character
    # Directions that run backwards, escape sequences and the like; spaces of other scripts are not printable to
    # Python, yet harmless.
    return " " if character.isspace() and ord(character) > 0xA0 else f"\\x{ord(character):02x}"
