"""Users and groups."""

from typing import Any

from holdfast.db.tables.groups import SUPER_GROUP_ID, SUPER_GROUP_NAME
from holdfast.features.accounts.bcrypt_hashes import is_bcrypt
from holdfast.features.accounts.passwords import is_argon2
from holdfast.features.accounts.rules import ADMIN_USERNAME, username_problem
from holdfast.operations.legacy.hashes import TO_BE_RESET, UNUSABLE, WELL_KNOWN_HASHES
from holdfast.operations.legacy.source import Row
from holdfast.operations.legacy.stages import Draft, Facts
from holdfast.operations.legacy.types import note


def adapt_user(draft: Draft, facts: Facts) -> None:
    """A hash that anybody can look up opens nothing; who cannot sign in under their name is told."""
    values = draft.values
    if not values["username"]:
        values["username"] = f"user-{draft.old_key}"
        draft.notes.append(note("missing_value", "username", None, values["username"]))
    values["must_change_password"] = False
    if values["password"] in WELL_KNOWN_HASHES:
        draft.notes.append(
            note("well_known_hash", "password", None, None, "it was made by the older program's own schema file")
        )
        values["password"], values["must_change_password"] = TO_BE_RESET, True
    elif not values["password"]:
        values["password"] = UNUSABLE
        draft.notes.append(note("missing_value", "password", None, None, "nobody signs in until it is set"))
    if values["username"] == ADMIN_USERNAME and values["status"] == "delete":
        values["status"] = "offline"
        draft.notes.append(note("enum_unknown", "status", "delete", "offline", "user admin cannot be disabled"))
    if problem := username_problem(values["username"]):
        draft.notes.append(note("unusual_name", "username", values["username"], None, f"a new user name {problem}"))


def changed_by_sign_in(row: Row, there: Any) -> frozenset[str]:
    """The columns that a first sign-in with a hash of bcrypt changes, where there was one since the import."""
    if is_bcrypt(row.get("password") or "") and is_argon2(there.password):
        return frozenset({"password", "status", "updated_at"})
    return frozenset()


def adapt_group(draft: Draft, facts: Facts) -> None:
    """The one group `super` keeps its name and gets its fixed id; another of that name would give rights."""
    if draft.values["group_name"] != SUPER_GROUP_NAME:
        return
    if draft.old_key == facts.super_key:
        draft.new_id = SUPER_GROUP_ID
        draft.notes.append(note("super_group", "g_id", draft.old_key, SUPER_GROUP_ID))
        return
    renamed = f"{SUPER_GROUP_NAME}-{draft.old_key}"
    draft.values["group_name"] = renamed
    draft.notes.append(
        note("clash", "group_name", SUPER_GROUP_NAME, renamed, f"group {facts.super_key} is the one of that name")
    )


def adapt_project(draft: Draft, facts: Facts) -> None:
    """A project needs a name."""
    if not draft.values["project_name"]:
        draft.values["project_name"] = f"project-{draft.old_key}"
        draft.notes.append(note("missing_value", "project_name", None, draft.values["project_name"]))
