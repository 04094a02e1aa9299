"""YAML text to documents whose every value knows its line, within limits that no text can pass.

The C parser gives events; the values are built from them here, so that depth, aliases and size are counted while
reading, before anything large exists. It keeps going after a problem that leaves the structure readable.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
import yaml

from holdfast.features.config_files.errors import MAX_PROBLEMS, ManifestProblem
from holdfast.features.config_files.yaml_scalars import Scalar, ScalarError, resolve_scalar

MAX_TEXT_BYTES = 1_048_576
MAX_DOCUMENTS = 1_000
# MariaDB 10.11 takes JSON for invalid where more than 31 objects and lists are nested; the difference is left for what
# an audit row wraps around a resource. A CronJob with affinity rules needs 15, in a List 17.
MAX_DEPTH = 24
# Counted with every alias written out, for the whole file.
MAX_VALUES = 100_000
MAX_CHARACTERS = 2 * MAX_TEXT_BYTES
# The parser compares each %TAG with all before it: 87,000 of them would keep it busy for many seconds.
_MAX_DIRECTIVES = 50

JsonValue: TypeAlias = Scalar | list["JsonValue"] | dict[str, "JsonValue"]

_FORBIDDEN_CHARACTER = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_MERGE_TAG = "tag:yaml.org,2002:merge"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_COLLECTION_TAGS = {
    yaml.MappingStartEvent: (None, "!", "tag:yaml.org,2002:map"),
    yaml.SequenceStartEvent: (None, "!", "tag:yaml.org,2002:seq"),
}
_QUOTE_THE_PLACEHOLDER = 'a placeholder at the start of a value must stand in quotes: "{{username}}"'


class LocatedValue(msgspec.Struct, frozen=True):
    """A YAML value and the line (from 1) on which it begins. Aliased values are shared: never change one."""

    value: "Scalar | list[LocatedValue] | dict[str, LocatedValue]"
    line: int


class YamlDocument(msgspec.Struct, frozen=True):
    """One document that is not empty. `number` counts all documents of the file from 1, the empty ones too."""

    number: int
    root: LocatedValue


def read_documents(text: str) -> tuple[list[YamlDocument], list[ManifestProblem]]:
    """The documents that could be read, and what is wrong with the others. Never raises, whatever the text."""
    problem = _find_unreadable_text(text)
    if problem is not None:
        return [], [problem]
    return _DocumentReader(text.removeprefix("\ufeff")).read()


def to_json(located: LocatedValue) -> JsonValue:
    """The plain value, aliases written out."""
    value = located.value
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def join_path(path: str, key: str | int) -> str:
    """The path of a child: `spec.containers[0]`, or `limits["nvidia.com/gpu"]` for a key that is not a plain word."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key[:80]}" if path else key[:80]
    return f'{path}["{key[:80]}"]'


def _find_unreadable_text(text: str) -> ManifestProblem | None:
    """What makes the text no YAML at all, or too large, found before the parser sees it."""
    # The error handler only serves to count: lone surrogates are refused by the search below.
    if len(text) > MAX_TEXT_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        line = text.count("\n", 0, MAX_TEXT_BYTES) + 1
        return ManifestProblem(1, line, "", f"the file is longer than {MAX_TEXT_BYTES:,} bytes")
    forbidden = _FORBIDDEN_CHARACTER.search(text)
    if forbidden is not None:
        reason = f"holds the character U+{ord(forbidden[0]):04X}, which YAML does not allow"
        return ManifestProblem(_document_at(text, forbidden.start()), _line_at(text, forbidden.start()), "", reason)
    directives = list(_DIRECTIVE.finditer(text))
    if len(directives) > _MAX_DIRECTIVES:
        line = _line_at(text, directives[_MAX_DIRECTIVES].start())
        return ManifestProblem(1, line, "", f"more than {_MAX_DIRECTIVES} lines begin with %")
    return None


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _document_at(text: str, position: int) -> int:
    """Which document a position lies in, by its `---` lines: for text that the parser cannot be asked about."""
    number = 0
    for line in text[:position].splitlines():
        if line.startswith("---") and line[3:4] in ("", " ", "\t"):
            number += 1
        elif number == 0 and line.strip() and not line.startswith(("#", "%")):
            number = 1
    return max(1, number)


class _UnreadableError(Exception):
    """Ends the reading: the rest of the file cannot be understood, or would be too large."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


class _Anchored(msgspec.Struct, frozen=True):
    """What `&name` stands for, with its cost: values, characters and levels, aliases within it written out."""

    located: LocatedValue
    values: int
    characters: int
    levels: int


class _DocumentReader:
    """Builds located values from parser events; one reader reads one text."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._documents: list[YamlDocument] = []
        self._problems: list[ManifestProblem] = []
        self._number = 0
        self._trail: list[str | int] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._values = 0
        self._characters = 0
        self._deepest = 0

    def read(self) -> tuple[list[YamlDocument], list[ManifestProblem]]:
        try:
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    self._read_document(event)
        except yaml.YAMLError as error:
            self._report_syntax_error(error)
        except _UnreadableError as error:
            self._report(error.line, error.reason)
        return self._documents, self._problems

    def _read_document(self, start: yaml.Event) -> None:
        self._number += 1
        if self._number > MAX_DOCUMENTS:
            raise _UnreadableError(_line_of(start), f"the file holds more than {MAX_DOCUMENTS:,} documents")
        self._anchors.clear()
        self._trail.clear()
        problems_before = len(self._problems)
        root = self._read_value(next(self._events), depth=1)
        if root.value is not None and len(self._problems) == problems_before:
            self._documents.append(YamlDocument(self._number, root))

    def _read_value(self, event: yaml.Event, *, depth: int) -> LocatedValue:
        line = _line_of(event)
        if isinstance(event, yaml.AliasEvent):
            return self._follow_alias(event, depth=depth)
        self._count(line, depth=depth, values=1, characters=0)
        anchor = event.anchor if isinstance(event, yaml.NodeEvent) else None
        if anchor is None:
            return self._build_value(event, line, depth=depth)
        return self._build_anchored(anchor, event, line, depth=depth)

    def _build_anchored(self, anchor: str, event: yaml.Event, line: int, *, depth: int) -> LocatedValue:
        values, characters, deepest = self._values - 1, self._characters, self._deepest
        self._anchors[anchor] = None
        self._deepest = depth
        located = self._build_value(event, line, depth=depth)
        self._anchors[anchor] = _Anchored(
            located, self._values - values, self._characters - characters, self._deepest - depth
        )
        self._deepest = max(deepest, self._deepest)
        return located

    def _build_value(self, event: yaml.Event, line: int, *, depth: int) -> LocatedValue:
        if isinstance(event, yaml.ScalarEvent):
            return LocatedValue(self._build_scalar(event, line), line)
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if event.tag not in _COLLECTION_TAGS[type(event)]:
                self._report(line, f"the tag {str(event.tag)[:80]} is not supported; leave it out")
            if isinstance(event, yaml.MappingStartEvent):
                return LocatedValue(self._build_mapping(depth=depth), line)
            return LocatedValue(self._build_list(depth=depth), line)
        raise AssertionError(f"the YAML parser gave {type(event).__name__} where a value begins")

    def _build_scalar(self, event: yaml.ScalarEvent, line: int) -> Scalar:
        self._count(line, depth=1, values=0, characters=len(event.value))
        try:
            return resolve_scalar(event.value, tag=event.tag, is_plain=event.implicit[0])
        except ScalarError as error:
            self._report(line, str(error))
            return None

    def _build_list(self, *, depth: int) -> list[LocatedValue]:
        items: list[LocatedValue] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            self._trail.append(len(items))
            items.append(self._read_value(event, depth=depth + 1))
            self._trail.pop()
        return items

    def _build_mapping(self, *, depth: int) -> dict[str, LocatedValue]:
        entries: dict[str, LocatedValue] = {}
        merged: list[LocatedValue] = []
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if _is_merge_key(event):
                self._trail.append("<<")
                merged.append(self._read_value(next(self._events), depth=depth + 1))
                self._trail.pop()
                continue
            key = self._read_key(event, depth=depth)
            self._trail.append(key if key is not None else "?")
            value = self._read_value(next(self._events), depth=depth + 1)
            if key in entries:
                first_line = entries[key].line
                self._report(
                    _line_of(event), f"the key stands twice in one mapping; its first value is on line {first_line}"
                )
            elif key is not None:
                entries[key] = value
            self._trail.pop()
        for value in merged:
            self._merge(entries, value)
        return entries

    def _read_key(self, event: yaml.Event, *, depth: int) -> str | None:
        """The key as text, numbers and booleans written as sigs.k8s.io/yaml writes them; None after a problem."""
        problems_before = len(self._problems)
        key = self._read_value(event, depth=depth + 1).value
        if isinstance(key, str):
            return key
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, (int, float)):
            return str(key)
        if len(self._problems) == problems_before:
            kind = "empty" if key is None else "a list or a mapping"
            hint = f"; {_QUOTE_THE_PLACEHOLDER}" if isinstance(key, dict) else ""
            self._report(_line_of(event), f"a key must be a text, but is {kind}{hint}")
        return None

    def _merge(self, entries: dict[str, LocatedValue], source: LocatedValue) -> None:
        """`<<`: keys that are written out win over merged ones, and earlier merged ones over later."""
        mappings = source.value if isinstance(source.value, list) else [source]
        for mapping in mappings:
            if not isinstance(mapping.value, dict):
                self._report(mapping.line, "'<<' can only merge a mapping or a list of mappings")
                continue
            for key, value in mapping.value.items():
                entries.setdefault(key, value)

    def _follow_alias(self, event: yaml.AliasEvent, *, depth: int) -> LocatedValue:
        line = _line_of(event)
        name = str(event.anchor)
        if name not in self._anchors:
            raise _UnreadableError(line, f"the alias *{name[:80]} names no anchor of this document")
        anchored = self._anchors[name]
        if anchored is None:
            raise _UnreadableError(line, f"the alias *{name[:80]} stands inside the value that it names")
        self._count(line, depth=depth + anchored.levels, values=anchored.values, characters=anchored.characters)
        return anchored.located

    def _count(self, line: int, *, depth: int, values: int, characters: int) -> None:
        self._values += values
        self._characters += characters
        self._deepest = max(self._deepest, depth)
        if len(self._problems) >= MAX_PROBLEMS:
            raise _UnreadableError(line, "there are more problems than one answer holds; reading stopped here")
        if depth > MAX_DEPTH:
            raise _UnreadableError(line, f"values are nested deeper than {MAX_DEPTH} levels")
        if self._values > MAX_VALUES:
            raise _UnreadableError(line, f"the file holds more than {MAX_VALUES:,} values, aliases written out")
        if self._characters > MAX_CHARACTERS:
            raise _UnreadableError(line, f"the file holds more than {MAX_CHARACTERS:,} characters, aliases written out")

    def _report_syntax_error(self, error: yaml.YAMLError) -> None:
        line = 1
        reason = "not valid YAML"
        if isinstance(error, yaml.MarkedYAMLError):
            mark = error.problem_mark or error.context_mark
            # At the end of the text libyaml points to a line that is not there.
            line = min(mark.line + 1, max(1, len(self._lines))) if mark is not None else 1
            reason += "".join(f", {part}" for part in (error.context, error.problem) if part)
        # libyaml points behind a value that it could not end, so the line before may be the guilty one.
        if any("{{" in nearby for nearby in self._lines[max(0, line - 2) : line]):
            reason += f"; {_QUOTE_THE_PLACEHOLDER}"
        self._number = max(1, self._number)
        self._report(line, reason)

    def _report(self, line: int, reason: str) -> None:
        path = ""
        for key in self._trail:
            path = join_path(path, key)
        self._problems.append(ManifestProblem(max(1, self._number), line, path, reason))


def _is_merge_key(event: yaml.Event) -> bool:
    if not isinstance(event, yaml.ScalarEvent) or event.value != "<<":
        return False
    return event.tag == _MERGE_TAG or (event.tag is None and event.implicit[0])


def _line_of(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1
