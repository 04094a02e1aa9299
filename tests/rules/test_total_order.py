"""Every statement that orders rows or cuts them off has a total order, and one that loses it is named (I-59)."""

import re
from typing import Any

import pytest
from sqlalchemy import Select, bindparam, select

from holdfast.db.listing import Listing, listings
from holdfast.db.statements import Query, Statement, live
from holdfast.db.tables import forms, user_group, users
from holdfast.features.forms.types import Form
from holdfast.operations.plans.statements import declared_statements, list_variants
from tests.rules.total_order import last_column, order_faults

# Statements whose order may be left to chance, and why.
ANY_WILL_DO = {
    "accounts.absent_users": "a batch: whom it leaves out comes next time",
    "accounts.old_failures": "a batch: what it leaves comes next time",
    "accounts.old_tokens": "a batch: what it leaves comes next time",
    "answers.find_old": "a batch: what it leaves comes next time",
    "config_files.resources_of_files_include_deleted": (
        "no page: names of live resources are unique in their file, and of equal names the others are deleted"
    ),
    "doctor.gaps_in_audit_log": "its rows are entries of the audit log, and by their numbers they are ordered",
    "doctor.rows_to_mark_include_deleted(*": "its rows are grouped by the whole key, and by the key they are ordered",
    "doctor.unknown_deletions_include_deleted": "its rows are grouped by the id, and by the id they are ordered",
    "jobs.find_due*": "of two jobs that are due at one moment either may go first",
    "purge.find_expiring_include_deleted(*": "a batch: what it leaves comes next time",
    "reviewed_orphans.*": "the seed's query stands as text (5.2); its id is the key of image_requests",
}


def _statements() -> list[Statement]:
    return [*declared_statements(), *list_variants(0)]


def test_every_order_is_total() -> None:
    found = [(each.name, fault) for each in _statements() for fault in order_faults(each)]
    unexplained = [fault for name, fault in found if not any(_matches(name, each) for each in ANY_WILL_DO)]
    assert unexplained == [], "\n" + "\n".join(unexplained)


def test_every_list_ends_its_order_with_the_row() -> None:
    declared_statements()
    faults = [
        f"{variant.name} does not end its order with {listing._row_id}, by which its cursors go on"
        for listing in [each for each in listings.values() if not each.name.startswith("tests.")]
        for variant in listing.declare_all(0)
        if ".count(" not in variant.name and last_column(variant) is not listing._row_id
    ]
    assert faults == [], "\n" + "\n".join(faults)


def test_every_exception_is_still_needed() -> None:
    faulty = {each.name for each in _statements() for _ in order_faults(each)}
    idle = [pattern for pattern in ANY_WILL_DO if not any(_matches(name, pattern) for name in faulty)]
    assert idle == []


def test_a_removed_tie_breaker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_the_row(listing: Listing[Any], statement: Select[Any], sort: str) -> Select[Any]:
        return statement.order_by(listing.sorts[sort.removeprefix("-")]).limit(bindparam("limit"))

    declared_statements()
    monkeypatch.setattr(Listing, "_ordered", without_the_row)
    of_forms = listings["forms"]
    broken: Listing[Form] = Listing(
        "tests.untied_forms",
        of_forms._select,
        Form,
        row_id=of_forms._row_id,
        sorts={"created_at": of_forms.sorts["created_at"]},
        default_sort="created_at",
    )
    told = [fault for variant in broken.declare_all(0) for fault in order_faults(variant)]
    sentence = "ends its order with forms.created_at, without a unique key: rows with equal values would change places"
    assert any(each.startswith(f"tests.untied_forms.after(all):-created_at {sentence}") for each in told), told
    assert any(each.startswith(f"tests.untied_forms.list(all):created_at {sentence}") for each in told), told
    for each in (broken, broken.including_deleted):
        assert each is not None
        del listings[each.name]


_ID = select(forms.c.id.label("id"))
_FIXED_GROUP = user_group.c.g_id == bindparam("g_id")


@pytest.mark.parametrize(
    ("name", "statement", "fault"),
    [
        ("by_key", _ID.order_by(forms.c.title, forms.c.id), None),
        ("descending", _ID.order_by(forms.c.title.desc(), forms.c.id.desc()), None),
        ("without_rows_left_out", _ID, None),
        ("whether_there_is_one", _ID.limit(1), None),
        ("half_a_key", select(user_group.c.u_id.label("id")).order_by(user_group.c.u_id), "user_group.u_id"),
        (
            "the_other_half_is_given",
            select(user_group.c.u_id.label("id")).where(_FIXED_GROUP).order_by(user_group.c.u_id),
            None,
        ),
        ("unique_among_live", select(users.c.u_id.label("id")).where(live(users)).order_by(users.c.username), None),
        ("not_unique_with_deleted", select(users.c.u_id.label("id")).order_by(users.c.username), "users.username"),
        ("by_an_expression", _ID.order_by(forms.c.title.concat("x")), "an expression"),
        ("cut_off", _ID.limit(bindparam("limit")), "without an order"),
    ],
)
def test_an_order_is_judged_by_its_keys(name: str, statement: Select[Any], fault: str | None) -> None:
    query = Query.__new__(Query)
    query.name, query.element, query.by_dialect = f"tests.{name}", statement, {}
    told = list(order_faults(query))
    assert (told == []) if fault is None else (len(told) == 1 and fault in told[0] and query.name in told[0])


def _matches(name: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None
