"""A place in a document: a value with its line and path, to walk from and to report problems at.

Walking never raises. What is absent or null is treated as Kubernetes treats it, as not given; what has the wrong type
is reported where it stands, and then counts as not given.
"""

from collections.abc import Iterator

import msgspec

from holdfast.features.config_files.errors import ManifestProblem
from holdfast.features.config_files.yaml_documents import JsonValue, LocatedValue, YamlDocument, join_path, to_json

MAX_COUNT = 2**31 - 1


class Place(msgspec.Struct, frozen=True):
    """One value of one document. Places of a document share its list of problems."""

    located: LocatedValue
    path: str
    document: int
    problems: list[ManifestProblem]

    @property
    def line(self) -> int:
        return self.located.line

    def refuse(self, reason: str) -> None:
        """Note a problem with this value."""
        self.problems.append(ManifestProblem(self.document, self.line, self.path, reason))

    def to_json(self) -> JsonValue:
        """The plain value beneath this place."""
        return to_json(self.located)

    def find(self, key: str) -> "Place | None":
        """The value under a key, whatever its type; None where it is absent or null."""
        value = self.located.value
        child = value.get(key) if isinstance(value, dict) else None
        return self._child(key, child) if child is not None and child.value is not None else None

    def has_null(self, key: str) -> bool:
        """Whether the key is written with nothing behind it."""
        value = self.located.value
        return isinstance(value, dict) and key in value and value[key].value is None

    def mapping(self, key: str) -> "Place | None":
        place = self.find(key)
        if place is None or isinstance(place.located.value, dict):
            return place
        place._refuse_type("a mapping")
        return None

    def mapping_at(self, *keys: str) -> "Place | None":
        """The mapping at the end of a chain of mappings."""
        place: Place | None = self
        for key in keys:
            place = place.mapping(key) if place is not None else None
        return place

    def mappings(self, key: str) -> "list[Place]":
        """The mappings of a list; empty where the list is not given."""
        place = self.find(key)
        if place is None:
            return []
        items = place.located.value
        if not isinstance(items, list):
            place._refuse_type("a list")
            return []
        children = [place._child(index, item) for index, item in enumerate(items)]
        return [child for child in children if child.is_mapping()]

    def is_mapping(self) -> bool:
        """Whether this value is a mapping; reports it where it is not."""
        if isinstance(self.located.value, dict):
            return True
        self._refuse_type("a mapping")
        return False

    def entries(self) -> "Iterator[tuple[str, Place]]":
        """Keys and places of a mapping, null values included."""
        value = self.located.value
        if isinstance(value, dict):
            for key, item in value.items():
                yield key, self._child(key, item)

    def text(self, key: str) -> str | None:
        place = self.find(key)
        if place is None:
            return None
        value = place.located.value
        if isinstance(value, str):
            return value
        hint = "" if isinstance(value, (list, dict)) else "; put it in quotes"
        place._refuse_type("a text", hint)
        return None

    def flag(self, key: str) -> bool:
        place = self.find(key)
        if place is None:
            return False
        if isinstance(place.located.value, bool):
            return place.located.value
        place._refuse_type("true or false, without quotes")
        return False

    def count(self, key: str, *, default: int) -> int:
        """A whole number from 0 to 2³¹ - 1."""
        place = self.find(key)
        if place is None:
            return default
        value = place.located.value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            place.refuse(f"must be a whole number from 0 to {MAX_COUNT:,}")
        else:
            place._refuse_type("a whole number")
        return default

    def _child(self, key: str | int, located: LocatedValue) -> "Place":
        return Place(located, join_path(self.path, key), self.document, self.problems)

    def _refuse_type(self, wanted: str, hint: str = "") -> None:
        self.refuse(f"must be {wanted}, but is {_describe_type(self.located.value)}{hint}")


def root_place(document: YamlDocument, problems: list[ManifestProblem]) -> Place:
    """The place to begin at; problems found from it on are appended to `problems`."""
    return Place(document.root, "", document.number, problems)


def _describe_type(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "a mapping"
