"""What the README and the documentation name is there: commands and options, settings, metrics, targets and routes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from holdfast.app import create_app
from holdfast.cli.commands import COMMANDS, load
from holdfast.cli.credentials import TOKEN_VARIABLE, URL_VARIABLE
from holdfast.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# What stands before a command without being part of it: a prompt, the folder of the commands, variables for it.
_COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?holdfast(?: (?P<arguments>.*))?$")
_COMMAND_IN_TEXT = re.compile(r"`(?:\.venv/bin/)?holdfast (?P<arguments>[a-z][^`]*)`")
_ENDS_OF_COMMAND = frozenset({"|", "||", "&&", ";", ">", ">>", "<", "&"})
_SETTING = re.compile(r"\bHOLDFAST_[A-Z_]*[A-Z]\b(?!_)")
_METRIC = re.compile(r"\bholdfast_[a-z_]+")
_TARGET_IN_TEXT = re.compile(r"`make ([a-z-]+)")
_TARGET_IN_CODE = re.compile(r"^\s*(?:\$ )?make ([a-z-]+)")
_PATH = re.compile(r"/api/v1(?:/[A-Za-z0-9_{}$./-]*[A-Za-z0-9_}])?")
_CLI_VARIABLES = frozenset({URL_VARIABLE, TOKEN_VARIABLE})
_TEST_VARIABLES = frozenset({"HOLDFAST_REQUIRE_ENGINES"})
# Pages of their own, which describe the API and so are no part of its description.
_UNDESCRIBED_PATHS = frozenset({"/api/v1", "/api/v1/docs", "/api/v1/openapi.json"})


class Line(msgspec.Struct, frozen=True):
    """One line of a page, and whether it stands in a block of code."""

    page: Path
    number: int
    text: str
    is_code: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.number}"


def test_every_command_and_option_exists() -> None:
    problems = [f"{line}: {problem}" for line, words in _commands() for problem in [_problem_of(words)] if problem]
    assert not problems, _told(problems)


def test_the_commands_of_the_documentation_are_found() -> None:
    assert len(list(_commands())) > 50


def test_every_variable_is_a_setting() -> None:
    known = {f"HOLDFAST_{name.upper()}" for name in Settings.__struct_fields__} | _CLI_VARIABLES | _TEST_VARIABLES
    problems = [
        f"{line}: {name} is no setting and no variable of the command line"
        for line in _lines()
        for name in _SETTING.findall(line.text)
        if name not in known
    ]
    assert not problems, _told(problems)


def test_every_metric_is_registered() -> None:
    known = _metric_names()
    assert create_app.__module__ == "holdfast.app", "its import registers everything that a server counts"
    problems = [
        f"{line}: there is no metric {name}"
        for line in _lines()
        for name in _METRIC.findall(line.text)
        if not (any(each.startswith(name) for each in known) if name.endswith("_") else name in known)
    ]
    assert not problems, _told(problems)


def test_every_make_target_exists() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    problems = [
        f"{line}: the Makefile has no target {name}"
        for line in _lines()
        for name in (_TARGET_IN_CODE if line.is_code else _TARGET_IN_TEXT).findall(line.text)
        if name not in known
    ]
    assert not problems, _told(problems)


def test_every_path_is_described() -> None:
    described = _described_paths()
    problems = [
        f"{line}: docs/openapi.json describes no {path}"
        for line in _lines()
        for path in _PATH.findall(line.text)
        if path not in _UNDESCRIBED_PATHS and not any(pattern.fullmatch(path) for pattern in described)
    ]
    assert not problems, _told(problems)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("forms list --status pending", None),
        ("migrate status", None),
        ("--help", None),
        ("form list", "there is no command `form`"),
        ("forms lists", "`forms` has no command `lists`"),
        ("forms list --state pending", "`forms list` has no option --state"),
        ("forms list extra", "`forms list` takes no more than 0 arguments"),
        ("forms status AP73", "`forms status` lacks STATUS"),
    ],
)
def test_a_wrong_command_is_told(arguments: str, problem: str | None) -> None:
    assert _problem_of(shlex.split(arguments)) == problem


def _lines() -> Iterator[Line]:
    for page in PAGES:
        is_code = False
        for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            if text.lstrip().startswith("```"):
                is_code = not is_code
            else:
                yield Line(page, number, text, is_code)


def _commands() -> Iterator[tuple[Line, list[str]]]:
    """Each command line in a block of code or in a sentence, as the words after `holdfast`."""
    lines = _lines()
    for line in lines:
        if not line.is_code:
            yield from ((line, _own_words(match["arguments"])) for match in _COMMAND_IN_TEXT.finditer(line.text))
        match = _COMMAND.match(line.text.strip()) if line.is_code else None
        if match:
            arguments = match["arguments"] or ""
            while arguments.endswith("\\"):
                arguments = arguments[:-1] + next(lines).text.strip()
            yield line, _own_words(arguments)


def _own_words(arguments: str) -> list[str]:
    reader = shlex.shlex(arguments, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words: list[str] = []
    for word in reader:
        if word in _ENDS_OF_COMMAND:
            break
        words.append(word)
    return words


def _problem_of(words: list[str]) -> str | None:
    """What is wrong with a command line, told without running it; None where nothing is."""
    if not words or words[0].startswith("-"):
        return None
    name, *rest = words
    if name not in {place.name for place in COMMANDS}:
        return f"there is no command `{name}`"
    command = load(name)
    if getattr(command, "commands", None):
        if rest and not rest[0].startswith("-"):
            command = command.commands.get(rest[0])
            if command is None:
                return f"`{name}` has no command `{rest[0]}`"
            name, rest = f"{name} {rest[0]}", rest[1:]
        elif not command.invoke_without_command and "--help" not in rest:
            return f"`{name}` needs a command"
    return None if "--help" in rest else _problem_of_parameters(name, command, rest)


def _problem_of_parameters(name: str, command: Any, words: list[str]) -> str | None:
    options = {text: each for each in command.params for text in (*each.opts, *each.secondary_opts) if text[0] == "-"}
    given: list[str] = []
    arguments: list[str] = []
    remaining = iter(words)
    for word in remaining:
        option, equals, _ = word.partition("=")
        if not word.startswith("-") or word == "-":
            arguments.append(word)
        elif option not in options:
            return f"`{name}` has no option {option}"
        else:
            given.append(options[option].name)
            if not options[option].is_flag and not equals and next(remaining, None) is None:
                return f"`{name}` lacks a value for {option}"
    return _problem_of_what_is_required(name, command, given, arguments)


def _problem_of_what_is_required(name: str, command: Any, given: list[str], arguments: list[str]) -> str | None:
    places = [each for each in command.params if each.param_type_name == "argument"]
    if len(arguments) > len(places):
        return f"`{name}` takes no more than {len(places)} arguments"
    missing = [each.name.upper() for each in places[len(arguments) :] if each.required]
    missing += [
        each.opts[0]
        for each in command.params
        if each.param_type_name == "option" and each.required and each.name not in given
    ]
    return f"`{name}` lacks {', '.join(missing)}" if missing else None


def _metric_names() -> set[str]:
    """The names as a scrape shows them, and those of the families."""
    names: set[str] = set()
    for family in REGISTRY.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [])
        names |= {family.name, *(family.name + suffix for suffix in suffixes)}
    return names


def _described_paths() -> list[re.Pattern[str]]:
    """For each described path a pattern, in which a variable of the shell or any id may stand for a parameter."""
    description = msgspec.json.decode((ROOT / "docs" / "openapi.json").read_bytes())
    return [re.compile(re.sub(r"\{[^}]+\}", r"[^/]+", path)) for path in description["paths"]]


def _told(problems: list[str]) -> str:
    return "\n" + "\n".join(problems)
