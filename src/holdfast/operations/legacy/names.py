"""The ids that rows of the older schema get: `user_17`, `proj_3`, by the rule of the seed (7)."""

import base64
import hashlib
import re

from holdfast.core.ids import LONG_WIDTH, SHORT_WIDTH

PREFIXES = {
    "users": "user",
    "group_list": "group",
    "project_list": "proj",
    "config_files": "cf",
    "resources": "res",
    "forms": "form",
    "form_messages": "msg",
    "container_repositories": "repo",
    "container_tags": "tag",
    "image_requests": "ireq",
    "image_allow_list": "rule",
    "cluster_image_status": "cis",
    "course_workloads": "course",
}
_SHORT = frozenset({"users", "group_list", "project_list"})
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")
_LONGEST_KEY = 64
FORMER_USER_ID = "former_user"
QUARANTINE_GROUP_ID = "group_quarantine"
QUARANTINE_PROJECT_ID = "proj_quarantine"


def width_of(table: str) -> int:
    """How long an id of the table may be."""
    return SHORT_WIDTH if table in _SHORT else LONG_WIDTH


def plain_id(table: str, old: str) -> str | None:
    """The id by the rule; None where it would be too wide or no id at all."""
    found = f"{PREFIXES[table]}_{old}"
    return found if len(found) <= width_of(table) and _PLAIN.match(found) else None


def hashed_id(table: str, old: str, source: str) -> str:
    """An id of the same prefix for a key that gives none by the rule: always the same for one key of one source."""
    prefix = f"{PREFIXES[table]}_"
    return prefix + _digest(f"{source}\0{table}\0{old}")[: width_of(table) - len(prefix)]


def deletion_id(new_id: str, source: str) -> str:
    """The id of the deletion that a row was in when it was imported."""
    found = f"del_{new_id}"
    return found if len(found) <= LONG_WIDTH else f"del_{_digest(f'{source}{new_id}')[: LONG_WIDTH - 4]}"


def key_text(parts: tuple[object, ...]) -> str:
    """An old primary key as the key map holds it."""
    text = ",".join(map(str, parts))
    if len(text) <= _LONGEST_KEY and text.isascii() and text.isprintable():
        return text
    return f"#{_digest(text)}"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
