"""P5: the rows that grow, what stays as large beside them, and that every list is asked for."""

from pathlib import Path

import msgspec
import pytest

from bench import growing, growth
from bench.orm_cascade import engine_of

_SIZE = 2 * growing.TERM


def test_what_surrounds_a_person_stays_as_large(tmp_path: Path) -> None:
    with growing.grown_stands("sqlite", [_SIZE], tmp_path) as stands:
        engine = engine_of(stands[_SIZE].database_url)
        with engine.connect() as connection:

            def count(condition: str) -> int:
                number: int = connection.exec_driver_sql(f"SELECT count(*) FROM {condition}").scalar_one()
                return number

            for table in ("users", "forms", "form_messages", "audit_logs"):
                assert count(table) == _SIZE
            assert count("user_group WHERE g_id = 'g-0000099'") == growing.MEMBERS_OF_A_GROUP
            assert count("forms WHERE project_id = 'p-0000103'") == growing.FORMS_OF_A_PROJECT
            assert count("form_messages WHERE form_id = 'f-0010003'") == growing.MESSAGES_OF_A_FORM
            assert count("project_list WHERE g_id = 'g-0000051'") == growing.PROJECTS_OF_A_GROUP
            assert count("audit_logs WHERE g_id = 'g-0000051'") == growing.ENTRIES_OF_A_GROUP
            assert count("audit_logs WHERE user_id = 'u-0010001'") == growing.ENTRIES_OF_A_USER
            assert count(f"forms WHERE status = '{growing.RARE_STATUS}'") == _SIZE // 10
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        engine.dispose()


@pytest.mark.slow
def test_every_list_is_asked_for_by_number_and_by_cursor(tmp_path: Path) -> None:
    effort = msgspec.structs.replace(growth.BRIEF, rounds=1, requests=2)
    figures = list(growth.measure_growth("sqlite", tmp_path, effort))
    names = [figure.name.partition(" (")[0] for figure in figures]
    assert len(names) == len(set(names))
    assert all(figure.value > 0 for figure in figures)
    for part in (
        "page 1 without the total",
        "page 1 with the total",
        "page 2 by cursor",
        "deep pages by cursor",
        "the same deep pages by number",
    ):
        assert {f"all {each}: {part}" for each in ("forms", "audit entries", "users")} <= set(names)
    unjudged = {name for name, figure in zip(names, figures, strict=True) if figure.bound is None}
    growing_lists = {name.partition(":")[0] for name in names if name.endswith("without the total")}
    assert growing_lists == {
        "all forms",
        "all audit entries",
        "all users",
        "forms of a status",
        "audit entries of an action",
    }
    assert unjudged == {name for name in names if "by number" in name} | {
        f"{each}: page 1 with the total" for each in growing_lists
    }
