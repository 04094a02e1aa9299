"""A roster file: CSV as spreadsheets and campus systems write it, read into rows that know their line numbers."""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from holdfast.cli.failures import CommandFailedError
from holdfast.features.groups.roster_plan import clean_rows, find_form_errors
from holdfast.features.groups.types import RosterRow, RowError

COLUMNS = ("username", "full_name", "email", "role", "password")
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LONGEST_FIELD = 10_000

Progress = Callable[[int, int], None]


class Roster(msgspec.Struct, frozen=True):
    """What a file holds. `ignored_columns` are those of its header, in lower case, that an import has no use for."""

    rows: list[RosterRow]
    ignored_columns: list[str]
    delimiter: str


class RosterFileError(CommandFailedError):
    """The file cannot be imported; each line that is wrong is named."""

    def __init__(self, path: Path, errors: list[RowError]) -> None:
        mistakes = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        super().__init__(
            f"{path}: {mistakes}, nothing was sent",
            lines=[f"line {error.line}, {error.field}: {error.reason}" for error in errors],
        )
        self.errors = errors


def read_roster(path: Path, progress: Progress = lambda line, lines: None) -> Roster:
    """Read and check the whole file; `RosterFileError` with every mistake, sorted by line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CommandFailedError(f"{path} cannot be read: {error.strerror}") from error
    text = _decode(path, content)
    delimiter, header = _read_header(path, text)
    lines = text.count("\n") + 1
    errors: list[RowError] = []
    rows: list[RosterRow] = []
    records = _records(text, delimiter, errors)
    next(records)
    for line, cells in records:
        progress(line, lines)
        if len(cells) != len(header):
            errors.append(RowError(line, "row", _wrong_width(cells, header, delimiter)))
        else:
            rows.append(_row(line, dict(zip(header, cells, strict=True))))
    rows = clean_rows(rows)
    errors += find_form_errors(rows)
    if errors:
        raise RosterFileError(path, sorted(errors, key=lambda error: error.line))
    if not rows:
        raise CommandFailedError(f"{path} names nobody: there is a header and no row below it")
    return Roster(rows, [name for name in header if name not in COLUMNS], _DELIMITERS[delimiter])


def _decode(path: Path, content: bytes) -> str:
    if content.startswith(_WIDE_MARKS):
        raise RosterFileError(path, [RowError(1, "encoding", "this is UTF-16; save the file as 'CSV UTF-8'")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        reason = (
            f"the byte 0x{content[error.start]:02x} is not UTF-8, the file may be in Latin-1 or Windows-1252;"
            " save it as 'CSV UTF-8'"
        )
        raise RosterFileError(path, [RowError(before.count(b"\n") + 1, "encoding", reason)]) from error


def _read_header(path: Path, text: str) -> tuple[str, list[str]]:
    """The delimiter under which the first line names most columns, and the columns' names."""
    headers: dict[str, list[str]] = {}
    for delimiter in _DELIMITERS:
        errors: list[RowError] = []
        _, cells = next(_records(text, delimiter, errors), (1, []))
        headers[delimiter] = [_column_name(cell) for cell in cells]
    delimiter = max(headers, key=lambda each: sum(name in COLUMNS for name in headers[each]))
    header = headers[delimiter]
    if "username" not in header:
        found = ", ".join(header[:10]) or "nothing"
        reason = f"the first line must name the columns, username among them (it may hold {_listed()}); found {found}"
        raise RosterFileError(path, [RowError(1, "header", reason)])
    twice = sorted({name for name in header if name in COLUMNS and header.count(name) > 1})
    if twice:
        raise RosterFileError(path, [RowError(1, "header", f"the column {name} stands twice") for name in twice])
    return delimiter, _told_apart(header)


def _records(text: str, delimiter: str, errors: list[RowError]) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each record, the header first; blank ones are left out.

    A quoted field may run over several lines; a record's line is the one on which it begins.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            errors.append(RowError(line, "row", _syntax_problem(str(error))))
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def _syntax_problem(text: str) -> str:
    if "unexpected end of data" in text or "field larger" in text:
        return 'a quoted field does not end; write a " within a field twice'
    return f'{text}; write a " within a field twice, and quote the whole field'


def _row(line: int, cells: dict[str, str]) -> RosterRow:
    role = cells.get("role", "").strip().lower()
    return RosterRow(
        line=line,
        username=cells["username"],
        full_name=cells.get("full_name"),
        email=cells.get("email"),
        role=role or None,
        password=cells.get("password"),
    )


def _wrong_width(cells: list[str], header: list[str], delimiter: str) -> str:
    reason = f"has {len(cells)} fields where the header has {len(header)}"
    if len(cells) > len(header):
        reason += f"; quote a field that holds a {_DELIMITERS[delimiter]}"
    return reason


def _column_name(cell: str) -> str:
    return cell.strip().lower().replace(" ", "_").replace("-", "_")


def _told_apart(header: list[str]) -> list[str]:
    """The header with a name of its own for every column, so that unknown ones may repeat or be empty."""
    names: list[str] = []
    for position, name in enumerate(header, start=1):
        names.append(name if name and name not in names else f"{name or 'column'}_{position}")
    return names


def _listed() -> str:
    return ", ".join(COLUMNS)
