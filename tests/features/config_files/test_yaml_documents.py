"""Reading YAML: what scalars mean, where values stand, and that no text can be too much."""

import time
from collections.abc import Callable

import pytest

from holdfast.features.config_files.yaml_documents import (
    MAX_TEXT_BYTES,
    JsonValue,
    LocatedValue,
    read_documents,
    to_json,
)


def read_one(text: str) -> JsonValue:
    documents, problems = read_documents(text)
    assert problems == []
    assert len(documents) == 1
    return to_json(documents[0].root)


def problems_of(text: str) -> list[str]:
    documents, problems = read_documents(text)
    assert problems
    assert documents == []
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("yes", True), ("on", True), ("Y", True), ("no", False), ("Off", False), ("n", False), ("true", True)),
        *(("tRue", "tRue"), ("~", None), ("", None), ("null", None), ("none", "none")),
        *(("0644", 420), ("0o644", 420), ("0x1F", 31), ("0b101", 5), ("-0x1F", -31), ("1_000", 1000), ("+7", 7)),
        *(("089", 89), ("0", 0), ("00", 0), ("1.0", 1), ("1.50", 1.5), (".5", 0.5), ("1e3", 1000), ("-1.", -1)),
        *(("1e400", "1e400"), ("_1", "_1"), ("1.2.3", "1.2.3"), ("-x", "-x"), ("0x", "0x"), ("12:30:45", "12:30:45")),
        *(("2001-12-14", "2001-12-14"), ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"), ("500m", "500m")),
        *(("'yes'", "yes"), ('"1"', "1"), ("!!str 1", "1"), ("! 1", "1"), ("!!int '5'", 5), ("!!float 2", 2)),
        *(("!!bool 'on'", True), ("!!null ''", None), ("!!timestamp 2001-12-14", "2001-12-14"), ("=", "=")),
        *(("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)), ("1e30", 1e30), ("1.٣", "1.٣")),
    ],
)
def test_a_scalar_means_what_it_means_to_kubernetes(written: str, meant: object) -> None:
    value = read_one(f"a: {written}\nb: 1")
    assert isinstance(value, dict)
    assert value["a"] == meant
    assert type(value["a"]) is type(meant)


@pytest.mark.parametrize("written", [".inf", "-.Inf", "+.INF", ".nan", ".NaN"])
def test_numbers_that_json_lacks_are_refused(written: str) -> None:
    assert problems_of(f"a: 1\nb: {written}") == [
        f"document 1, line 2: b: {written} cannot be written in JSON; put it in quotes if a text is meant"
    ]


@pytest.mark.parametrize("written", ["9223372036854775808", "-9223372036854775809", "0x" + "F" * 17, "9" * 5000])
def test_whole_numbers_that_no_engine_keeps_are_refused(written: str) -> None:
    assert "must fit in 64 bits" in problems_of(f"a: {written}")[0]


def test_keys_become_texts() -> None:
    assert read_one("1: a\nyes: b\n1.5: c\n'': d\n2001-01-01: e") == {
        "1": "a",
        "true": "b",
        "1.5": "c",
        "": "d",
        "2001-01-01": "e",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "document 1, line 4: b.c: the key stands twice in one mapping"),
        ("yes: 1\n'true': 2", "document 1, line 2: true: the key stands twice"),
        ("~: 1", "document 1, line 1: a key must be a text, but is empty"),
        ("? [a]\n: 1", "document 1, line 1: a key must be a text, but is a list or a mapping"),
        ("a: {{namespace}}", "document 1, line 1: a: a key must be a text, but is a list or a mapping; a placeholder"),
        ("a: - {{namespace}}\nb: 1", "not allowed in this context; a placeholder at the start of a value must stand"),
        ("a: !!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system is not supported"),
        ("a: !!binary eA==", "the tag tag:yaml.org,2002:binary is not supported"),
        ("a: !!set {b}", "line 1: a: the tag tag:yaml.org,2002:set is not supported"),
        ("a: !mine [b]", "line 1: a: the tag !mine is not supported"),
        ("a: !!int x", "'x' is not of the type int"),
        ("a: !!int yes", "'yes' is not of the type int"),
        ("a: *b", "document 1, line 1: a: the alias *b names no anchor of this document"),
        ("a: &b 1\n---\na: *b", "document 2, line 3: a: the alias *b names no anchor"),
        ("a: &b [*b]", "document 1, line 1: a[0]: the alias *b stands inside the value that it names"),
        ("a: &b {c: {<<: *b}}", 'a.c["<<"]: the alias *b stands inside'),
        ("<<: 1", "document 1, line 1: '<<' can only merge a mapping or a list of mappings"),
        ("a: b: c", "document 1, line 1: not valid YAML, mapping values are not allowed in this context"),
        ("a:\n\tb: 1", "document 1, line 2: a: not valid YAML"),
        ("a: 'b\n", "document 1, line 1: a: not valid YAML"),
        ("a: 1\nb: x\0y", "document 1, line 2: holds the character U+0000, which YAML does not allow"),
        ("---\na: 1\n---\nb: \x07", "document 2, line 4: holds the character U+0007"),
        ("\n" * 50_000 + "\0", "document 1, line 50001: holds the character U+0000"),
        ("# x\n---\na\n---\n\0", "document 2, line 5: holds the character U+0000"),
        ("a: \ud800", "document 1, line 1: holds the character U+D800"),
        ('a: 1\nb: "x\\0y"', "document 1, line 2: b: holds a NUL character, which cannot be stored"),
        ('"x\\0y": 1', "document 1, line 1: holds a NUL character, which cannot be stored"),
        ("%YAML 3.0\n---\na: 1", "not valid YAML"),
    ],
)
def test_a_problem_is_named_with_its_place(text: str, problem: str) -> None:
    documents, problems = read_documents(text)
    assert problem in str(problems[0])
    assert len(problems) == 1
    assert all(document.number != problems[0].document for document in documents)


def test_reading_goes_on_after_a_problem() -> None:
    documents, problems = read_documents("a: 1\na: 2\nb: .inf\n---\nc: 3\n---\nd: {{x}}\n---\ne: [")
    assert [document.number for document in documents] == [2]
    assert [(problem.document, problem.line) for problem in problems] == [(1, 2), (1, 3), (3, 7), (4, 9)]


@pytest.mark.conformance("F-05")
def test_separators_and_indentation_inside_a_block_string_survive() -> None:
    text = "a: |\n  ---\n    deep\n  --- x\n  ...\nb: |2\n    first\n  second\n"
    assert read_one(text) == {"a": "---\n  deep\n--- x\n...\n", "b": "  first\nsecond\n"}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "---\n---\n...\n", "\ufeff", "~", "--- # a\n"])
def test_empty_documents_are_passed_over(text: str) -> None:
    assert read_documents(text) == ([], [])


def test_empty_documents_count() -> None:
    documents, _ = read_documents("# a\n---\n# b\n---\na: 1\n---\n---\nb: 2")
    assert [(document.number, document.root.line) for document in documents] == [(2, 5), (4, 8)]


@pytest.mark.parametrize("text", ["\ufeffa: 1\nb: 2", "a: 1\r\nb: 2\r\n", "a: 1\rb: 2", '{"a":\t1,\n\t"b": 2}'])
def test_marks_and_line_ends_of_other_systems_are_fine(text: str) -> None:
    assert read_one(text) == {"a": 1, "b": 2}


def test_each_value_knows_its_line() -> None:
    documents, _ = read_documents("# first\na:\n  b: 1\n  c:\n    - x\n    - y\nd: &e\n  f: 1\ng: *e\n")

    def line_of(value: LocatedValue, *keys: str | int) -> int:
        for key in keys:
            value = value.value[key]  # type: ignore[index, assignment]
        return value.line

    root = documents[0].root
    assert line_of(root) == 2
    assert line_of(root, "a", "b") == 3
    assert line_of(root, "a", "c", 1) == 6
    assert line_of(root, "g", "f") == 8


def test_merged_keys_yield_to_written_ones_and_earlier_ones() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2, d: 2}\nz:\n  d: 3\n  <<: [*x, *y]\nw: {'<<': 1}\nv: {<<: *x, a: 5}"
    value = read_one(text)
    assert isinstance(value, dict)
    assert value["z"] == {"a": 1, "b": 1, "c": 2, "d": 3}
    assert value["w"] == {"<<": 1}
    assert value["v"] == {"a": 5, "b": 1}


def laughing() -> str:
    levels = "".join(f"b{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    return "a: &a0 [x,x,x,x,x,x,x,x,x]\n" + levels


def merging() -> str:
    base = "a: &a {" + ", ".join(f"k{i}: 1" for i in range(300)) + "}\n"
    return base + "".join(f"m{i}: {{<<: [{','.join(['*a'] * 50)}]}}\n" for i in range(1000))


def aliased_levels() -> str:
    """Each line is flat; written out, they are 40 levels deep."""
    return "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (laughing, "more than 100,000 values"),
        (merging, "more than 100,000 values"),
        (aliased_levels, "deeper than 24 levels"),
        (lambda: 'a: &a "' + "x" * 100_000 + '"\nb: [' + ",".join(["*a"] * 90_000) + "]", "2,097,152 characters"),
        (lambda: "a" * 10_000_000, "longer than 1,048,576 bytes"),
        (lambda: "a: é\n" * 190_000, "longer than 1,048,576 bytes"),
        (lambda: "[" * 1_000_000, "deeper than 24 levels"),
        (lambda: "[\n" * 500_000, "deeper than 24 levels"),
        (lambda: "{" * 1_000_000, "deeper than 24 levels"),
        (lambda: "- " * 500_000, "deeper than 24 levels"),
        (lambda: "? " * 500_000, "deeper than 24 levels"),
        (lambda: "".join(" " * i + "a:\n" for i in range(1_400)), "deeper than 24 levels"),
        (lambda: "---\n" * 260_000, "more than 1,000 documents"),
        (lambda: "- 1\n" * 260_000, "more than 100,000 values"),
        (lambda: "".join(f"%TAG !a{i}! x\n" for i in range(60_000)), "more than 50 lines begin with %"),
        (lambda: "- .nan\n" * 100_000, "cannot be written in JSON"),
    ],
)
def test_a_bomb_is_refused_before_it_goes_off(make: Callable[[], str], reason: str) -> None:
    text = make()
    started_at = time.process_time()
    problems = problems_of(text)
    assert time.process_time() - started_at < 2
    assert reason in problems[0]
    assert len(problems) <= 101


def test_what_just_fits_is_read() -> None:
    text = "a: |\n" + "  x\n" * ((MAX_TEXT_BYTES - 5) // 4)
    assert MAX_TEXT_BYTES - len(text) < 4
    assert read_documents(text)[1] == []
    assert "longer than" in problems_of(text + "####")[0]


def test_twenty_four_levels_are_read_and_one_more_is_not() -> None:
    assert read_documents("[" * 24 + "]" * 24)[1] == []
    assert read_documents("[" * 23 + "a" + "]" * 23)[1] == []
    assert "deeper than 24" in problems_of("[" * 24 + "a" + "]" * 24)[0]
