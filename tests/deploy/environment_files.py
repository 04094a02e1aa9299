"""Files of settings as systemd reads them: NAME=value, a line each; a # begins a comment."""

from collections.abc import Iterable
from pathlib import Path


def read_environment_file(path: Path) -> dict[str, str]:
    """What the file sets."""
    return _parse(path.read_text(encoding="utf-8").splitlines())


def read_with_choices(path: Path) -> dict[str, str]:
    """What it sets once everything that it offers in a comment is chosen, too."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return _parse(line.removeprefix("#") if line.startswith("#HOLDFAST_") else line for line in lines)


def _parse(lines: Iterable[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, separator, value = line.partition("=")
            assert separator, f"{line} is no setting"
            settings[name] = value.strip('"')
    return settings
