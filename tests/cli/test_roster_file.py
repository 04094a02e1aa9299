"""Reading roster files: what spreadsheets write, and every mistake with its line."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.failures import CommandFailedError
from holdfast.cli.roster_file import RosterFileError, read_roster


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "roster.csv"
    path.write_bytes(content)
    return path


def _mistakes(folder: Path, content: bytes) -> list[tuple[int, str]]:
    with pytest.raises(RosterFileError) as raised:
        read_roster(_file(folder, content))
    return [(error.line, error.field) for error in raised.value.errors]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_delimiters_line_ends_and_marks_of_spreadsheets_are_read(
    tmp_path: Path, delimiter: str, line_end: str, mark: bytes
) -> None:
    rows = [["Full Name", "USERNAME", "role"], ["Zoë Ångström", "zoe", " Manager "], ["", "bob", ""]]
    text = line_end.join(delimiter.join(row) for row in rows) + line_end
    roster = read_roster(_file(tmp_path, mark + text.encode()))
    assert [(row.line, row.username, row.full_name, row.role) for row in roster.rows] == [
        (2, "zoe", "Zoë Ångström", "manager"),
        (3, "bob", None, None),
    ]


def test_a_quoted_field_over_several_lines_keeps_the_numbers_right(tmp_path: Path) -> None:
    content = b'username,note,email\nada,"first\nsecond\nthird",\n\n,,\nbob,,nonsense\n'
    assert _mistakes(tmp_path, content) == [(7, "email")]


def test_every_mistake_of_the_file_is_told_at_once(tmp_path: Path) -> None:
    content = b"username,role,email\nab,user,\nada,boss,nonsense\nada,,\nbob,user\ncarl,user,,,\n"
    assert _mistakes(tmp_path, content) == [
        (2, "username"),
        (3, "email"),
        (3, "role"),
        (4, "username"),
        (5, "row"),
        (6, "row"),
    ]


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    assert _mistakes(tmp_path, "username,full_name\r\nada,Ada\r\nzoe,Zoë\r\n".encode("latin-1")) == [(3, "encoding")]
    assert _mistakes(tmp_path, "username\nada\n".encode("utf-16")) == [(1, "encoding")]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"ada,Ada Lovelace\nbob,Bob\n", b"name,email\nada,a@b\n", b"username,role,role\nada,user,user\n"],
)
def test_a_header_is_required(tmp_path: Path, content: bytes) -> None:
    assert _mistakes(tmp_path, content) == [(1, "header")]


def test_a_quote_that_does_not_end_names_the_line_where_it_begins(tmp_path: Path) -> None:
    content = b'username,full_name\nada,Ada\nbob,"Bob\ncarl,Carl\n' + b"dora,Dora\n" * 2000
    assert _mistakes(tmp_path, content) == [(3, "row")]


def test_a_file_with_a_header_alone_names_nobody(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="names nobody"):
        read_roster(_file(tmp_path, b"username,email\n"))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="No such file"):
        read_roster(tmp_path / "absent.csv")


def test_columns_without_use_are_named(tmp_path: Path) -> None:
    roster = read_roster(_file(tmp_path, b"Matrikel,username,Tutor\n1,ada,x\n"))
    assert roster.ignored_columns == ["matrikel", "tutor"]


@given(st.binary(max_size=300))
def test_no_file_does_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"username," + content)
    with suppress(CommandFailedError):
        assert read_roster(path).rows
