"""Repositories, tags, rules and requests. Every reference is brought into the form in which Holdfast compares it."""

from typing import Any

from holdfast.features.images.errors import InvalidImageReferenceError
from holdfast.features.images.references import ImageReference, check_tag, parse_image, with_default_tag
from holdfast.operations.legacy.fields import first_of
from holdfast.operations.legacy.source import Row
from holdfast.operations.legacy.stages import Draft, Facts
from holdfast.operations.legacy.types import note


def adapt_repository(draft: Draft, facts: Facts) -> None:
    """`nginx` and `library/nginx` are `docker.io/library/nginx`; what is no image stays out."""
    row = draft.row
    parts = [row.get("namespace"), row.get("name")]
    text = first_of(row, "full_name") or "/".join(str(part) for part in parts if part)
    _set_repository(draft, str(text), row.get("registry"))


def adapt_flat_repository(draft: Draft, facts: Facts) -> None:
    """The repository of an entry of the flat list."""
    _set_repository(draft, str(draft.row.get("name") or ""), None)
    draft.notes.append(note("flat_image", "full_name", flat_text(draft.row), draft.values.get("full_name")))


def adapt_tag(draft: Draft, facts: Facts) -> None:
    """A tag that no registry could have stays out."""
    name = draft.values["name"]
    try:
        check_tag(name or "")
    except InvalidImageReferenceError as error:
        draft.leave_out("image_refused", error.message, "name", name)


def adapt_flat_tag(draft: Draft, facts: Facts) -> None:
    """The tag of an entry of the flat list: the column's, the name's, or `latest`."""
    reference = _flat_reference(draft)
    if reference is not None:
        draft.values["name"] = reference.tag or "latest"
        draft.values["digest"] = reference.digest
        draft.notes.append(note("flat_image", "name", flat_text(draft.row), draft.values["name"]))


def adapt_flat_rule(draft: Draft, facts: Facts) -> None:
    """A rule for all where the entry says so or names no project."""
    row = draft.row
    is_global = bool(row.get("is_global")) or not row.get("project_id")
    if is_global and row.get("project_id"):
        draft.notes.append(note("flat_image", "project_id", row["project_id"], None, "it is global"))
    draft.notes.append(note("flat_image", "tag_id", flat_text(row), None))


def adapt_flat_status(draft: Draft, facts: Facts) -> None:
    """Only a pulled image has a state in the cluster."""
    draft.values["is_pulled"] = True
    draft.notes.append(note("flat_image", "is_pulled", flat_text(draft.row), True))


def flat_project_key(row: Row) -> str | None:
    """The project of an entry of the flat list; None for all."""
    project = row.get("project_id")
    return None if row.get("is_global") or not project else str(project)


def flat_text(row: Row) -> str:
    """An entry of the flat list as people wrote it."""
    return f"{row.get('name')}:{row.get('tag')}" if row.get("tag") else str(row.get("name"))


def adapt_request(draft: Draft, facts: Facts) -> None:
    """The request's image in parts. One that cannot be read stays as it was written: nobody can approve it."""
    values = draft.values
    wanted = {name: values[name] for name in ("input_registry", "input_image_name", "input_tag")}
    try:
        reference = with_default_tag(
            parse_image(
                wanted["input_image_name"] or "", registry=wanted["input_registry"], tag=wanted["input_tag"] or None
            )
        )
    except InvalidImageReferenceError as error:
        if not wanted["input_image_name"]:
            draft.leave_out("image_refused", error.message, "input_image_name", wanted["input_image_name"])
            return
        draft.notes.append(note("unusual_name", "input_image_name", wanted["input_image_name"], None, error.message))
        return
    found: dict[str, Any] = {
        "input_registry": reference.registry,
        "input_image_name": reference.path,
        "input_tag": reference.tag or wanted["input_tag"] or "latest",
    }
    for name, value in found.items():
        if value != wanted[name]:
            draft.notes.append(note("image_normalised", name, wanted[name], value))
            values[name] = value


def _set_repository(draft: Draft, text: str, registry: str | None) -> None:
    try:
        # A full name begins with its registry, which may stand in its column too.
        reference = _parsed(text, registry or None)
    except InvalidImageReferenceError as error:
        draft.leave_out("image_refused", error.message, "full_name", text)
        return
    found = {
        "registry": reference.registry,
        "namespace": reference.namespace,
        "name": reference.name,
        "full_name": reference.full_name,
    }
    for name, value in found.items():
        old = draft.values.get(name)
        if old != value and (old or "") != (value or ""):
            draft.notes.append(note("image_normalised", name, old, value))
        draft.values[name] = value


def _parsed(text: str, registry: str | None) -> ImageReference:
    try:
        return parse_image(text, registry=registry)
    except InvalidImageReferenceError:
        if registry is None:
            raise
        return parse_image(text)


def _flat_reference(draft: Draft) -> ImageReference | None:
    row = draft.row
    try:
        return parse_image(str(row.get("name") or ""), tag=row.get("tag") or None)
    except InvalidImageReferenceError as error:
        draft.leave_out("image_refused", error.message, "name", flat_text(row))
        return None
