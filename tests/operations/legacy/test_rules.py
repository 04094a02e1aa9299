"""The ten rules of an import from an older schema, one test each."""

from collections.abc import Iterable
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from holdfast.core.ids import is_id
from holdfast.db.address import parse_address
from holdfast.db.open import open_database
from holdfast.features.accounts.passwords import check_password
from holdfast.operations.legacy.flavours import flavour_of, read_catalogue
from holdfast.operations.legacy.importing import LegacyReport, Noted, imagine_import, import_legacy
from holdfast.operations.legacy.key_map import notes_of
from holdfast.operations.legacy.plan import plan_import
from holdfast.operations.legacy.rules.audit import _masked
from holdfast.operations.legacy.times import moment_of
from holdfast.operations.legacy.types import LegacyError, Note, Options
from holdfast.settings import Settings
from tests.db.snapshots import Snapshot, read_all
from tests.operations.legacy.conftest import Legacy, NewTarget
from tests.operations.legacy.faults import WIDE, WIDEST_THAT_FITS
from tests.operations.legacy.flavours import FLAVOURS
from tests.operations.legacy.loading import open_legacy
from tests.operations.legacy.rows import OLD_HASH, START

pytestmark = pytest.mark.slow


class _Imported:
    """What an import made, and what it told."""

    def __init__(self, done: LegacyReport, rows: Snapshot, told: list[Noted]) -> None:
        self.done = done
        self.rows = rows
        self._told = told

    def row(self, table: str, *key: str) -> dict[str, Any]:
        return self.rows[table][key]

    def notes(self, table: str, old_key: str) -> list[Note]:
        """What was told of an older row."""
        return [
            each
            for noted in self._told
            if (noted.table, noted.entry.old_key) == (table, old_key)
            for each in notes_of(noted.entry.notes)
        ]

    def codes(self, table: str, old_key: str) -> set[str]:
        return {each.code for each in self.notes(table, old_key)}

    def outcome(self, table: str, old_key: str) -> str:
        return next(
            noted.entry.outcome for noted in self._told if (noted.table, noted.entry.old_key) == (table, old_key)
        )


async def _imported(settings: Settings, url: str, options: Options | None = None) -> _Imported:
    told: list[Noted] = []
    done = await import_legacy(settings, url, options or Options(), tell=told.append)
    assert done.unexplained == 0
    async with open_database(settings).running() as database:
        return _Imported(done, await read_all(database), told)


_NAMES = {
    "july_2025_first": "17 July 2025",
    "july_2025": "July 2025",
    "september_2025": "September 2025",
    "december_2025": "December 2025",
    "january_2026": "January 2026",
    "january_2026_role_level": "January 2026",
    "february_2026": "February 2026",
    "mixed": "September 2025, then January 2026, then February 2026",
    "seed7_mariadb": "integer ids (the seed's section 7)",
    "seed7_postgresql": "integer ids (the seed's section 7)",
    "seed7_sqlite": "integer ids (the seed's section 7)",
}


@pytest.mark.conformance("M-08")
@pytest.mark.parametrize("name", FLAVOURS)
async def test_rule_1_the_flavour_is_told_by_tables_and_columns(legacy: Legacy, name: str) -> None:
    url, expected = legacy(name)
    catalogue = await read_catalogue(parse_address(url))
    assert flavour_of(catalogue) == _NAMES[name]
    read = {stage.source.name for stage in plan_import(catalogue)}
    without_place = {row.table for row in expected.rows if row.target_table is None}
    assert read == {row.table for row in expected.rows} - without_place
    assert set(catalogue.unknown) >= without_place


async def test_what_is_no_older_schema_is_refused(new_target: NewTarget) -> None:
    for engine in ("postgresql", "mariadb"):
        with pytest.raises(LegacyError, match="has none of the older schemas"):
            await read_catalogue(parse_address(new_target(engine).resolved_database_url))
    with pytest.raises(LegacyError, match="there is no such file"):
        await read_catalogue(parse_address(new_target("sqlite").resolved_database_url))


async def test_a_holdfast_is_no_older_schema(legacy: Legacy, new_target: NewTarget) -> None:
    settings = new_target("postgresql")
    url, _ = legacy("september_2025", with_faults=False)
    await import_legacy(settings, url, Options())
    with pytest.raises(LegacyError, match="is a Holdfast already"):
        await imagine_import(None, settings.resolved_database_url, Options())
    with pytest.raises(LegacyError, match="are one"):
        await import_legacy(settings, settings.resolved_database_url, Options())


@pytest.mark.conformance("M-08", "M-06")
async def test_rule_2_ids_follow_from_the_old_ones_and_are_kept_in_the_map(
    legacy: Legacy, new_target: NewTarget, engine: str
) -> None:
    url, _ = legacy("february_2026")
    found = await _imported(new_target(engine), url)
    for table, key in (
        ("users", "user_2"),
        ("group_list", "group_2"),
        ("project_list", "proj_1"),
        ("config_files", "cf_1"),
        ("resources", "res_1"),
        ("forms", "form_1"),
        ("form_messages", "msg_1"),
        ("container_repositories", "repo_1"),
        ("container_tags", "tag_1"),
        ("image_requests", "ireq_1"),
        ("image_allow_list", "rule_1"),
        ("cluster_image_status", "cis_1"),
        ("course_workloads", "course_1"),
    ):
        assert (key,) in found.rows[table]
    assert found.row("project_list", "proj_1")["g_id"] == "group_2"
    assert (f"user_{WIDEST_THAT_FITS}",) in found.rows["users"]
    (hashed,) = [row["u_id"] for row in found.rows["users"].values() if row["username"] == "wide"]
    assert is_id(hashed, width=20)
    assert hashed.startswith("user_")
    assert "hashed_id" in found.codes("users", str(WIDE))
    assert ("group_2", hashed) in {(row["g_id"], row["u_id"]) for row in found.rows["user_group"].values()}
    entry = found.row("audit_logs", 3)  # type: ignore[arg-type]
    assert (entry["resource_id"], entry["resource_label"]) == ("u_id=user_3,g_id=group_7", "u_id=3,g_id=7")
    assert entry["g_id"] == "group_7"
    entry = found.row("audit_logs", 5)  # type: ignore[arg-type]
    assert entry["description"] == "added u_id=3 (user_3),g_id=7 (group_7)"
    # What the map does not know stays as it was.
    entry = found.row("audit_logs", 6)  # type: ignore[arg-type]
    assert entry["resource_id"] == "u_id=424242,g_id=group_7"


@pytest.mark.conformance("M-08")
async def test_rule_3_values_are_folded_and_unknown_kinds_stay_out(
    legacy: Legacy, new_target: NewTarget, engine: str
) -> None:
    url, expected = legacy("february_2026")
    settings = new_target(engine)
    found = await _imported(settings, url)
    assert {row["type"] for row in found.rows["resources"].values()} <= {
        *("pod", "service", "deployment", "configmap", "ingress")
    }
    assert found.row("resources", "res_1")["name"] == "deployment/web"
    assert found.codes("resources", "1") == {"enum_case"}
    secret = expected.find("resources", "secret")
    key = str(secret.key["r_id"])
    assert found.outcome("resources", key) == "left_out"
    assert found.codes("resources", key) == {"kind_unknown"}
    again = await _imported(settings, url, Options(allowed_kinds=frozenset({"secret"})))
    assert again.done.added["resources"] == 1
    assert again.row("resources", f"res_{key}")["name"] == "secret/key"
    assert "kind_allowed" in again.codes("resources", key)


@pytest.mark.conformance("M-08")
async def test_rule_4_orphans_are_reported_and_fail_nothing(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    url, expected = legacy("february_2026")
    found = await _imported(new_target(engine), url)
    names = {"of no group": "projects", "of no project": "config_files", "of no file": "resources"}
    for name, noun in names.items():
        row = expected.find(noun, name)
        (key,) = row.key.values()
        assert row.target_table is not None
        (note,) = [each for each in found.notes(row.target_table, str(key)) if each.code == "orphan"]
        assert "has no row" in note.why
        assert found.outcome(row.target_table, str(key)) == "left_out"
    # The log of what happened is kept, whoever did it.
    entry = found.row("audit_logs", 160)  # type: ignore[arg-type]
    assert (entry["user_id"], entry["actor_name"]) == ("former_user", "former-user")
    assert found.codes("audit_logs", "160") >= {"orphan"}


@pytest.mark.conformance("M-08")
async def test_rule_5_of_equal_names_the_newest_keeps_it(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    url, _ = legacy("february_2026")
    found = await _imported(new_target(engine), url)
    files = {key: found.row("config_files", key)["filename"] for key in ("cf_120", "cf_121", "cf_122")}
    assert files == {"cf_120": "twin-120.yaml", "cf_121": "twin-121.yaml", "cf_122": "twin.yaml"}
    assert found.row("resources", "res_125")["name"] == "service/double-125"
    assert found.row("resources", "res_126")["name"] == "service/double"
    assert found.row("course_workloads", "course_140")["k8s_pod_name"] == "same-pod-140"
    repositories = {key[0]: row for key, row in found.rows["container_repositories"].items() if "twin" in row["name"]}
    names = {key: (row["full_name"], row["deletion_id"] != "") for key, row in repositories.items()}
    assert names == {
        # No image is called so: a rule on it allows nothing that it did not allow.
        "repo_150": ("docker.io/lab/twin#150", False),
        "repo_152": ("docker.io/lab/twin", False),
        "repo_155": ("docker.io/lab/twin", True),
        "repo_156": ("docker.io/lab/twin", True),
    }
    assert found.row("container_tags", "tag_151")["name"] == "v1#151"
    for table, key in (("config_files", "120"), ("resources", "125"), ("container_repositories", "150")):
        assert "clash" in found.codes(table, key)


@pytest.mark.conformance("M-08")
async def test_rule_6_flat_images_get_their_parts(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    url, _ = legacy("january_2026")
    found = await _imported(new_target(engine), url)
    repositories = {row["id"]: row["full_name"] for row in found.rows["container_repositories"].values()}
    tags = {
        row["id"]: (repositories[row["repository_id"]], row["name"]) for row in found.rows["container_tags"].values()
    }
    rules = {key[0]: (row["project_id"], tags[row["tag_id"]]) for key, row in found.rows["image_allow_list"].items()}
    assert rules["rule_1"] == ("proj_1", ("docker.io/library/nginx", "1.27"))
    assert rules["rule_2"] == ("proj_2", ("docker.io/library/nginx", "1.27"))
    assert rules["rule_3"] == (None, ("ghcr.io/lab/trainer", "v2"))
    assert rules["rule_5"] == (None, ("docker.io/library/redis", "7"))
    assert len(set(repositories.values())) == len(repositories)
    pulled = {tags[row["tag_id"]] for row in found.rows["cluster_image_status"].values() if row["is_pulled"]}
    assert pulled == {("docker.io/library/nginx", "1.27"), ("ghcr.io/lab/trainer", "v2")}
    request = found.row("image_requests", "ireq_102")
    assert [request[name] for name in ("input_registry", "input_image_name", "input_tag")] == [
        *("registry.lab:5000", "team/app", "edge")
    ]
    assert (request["status"], request["reviewer_note"]) == ("approved", "for the course")


@pytest.mark.conformance("M-08")
async def test_rule_7_the_year_one_becomes_the_time_of_the_last_change(
    legacy: Legacy, new_target: NewTarget, engine: str
) -> None:
    url, _ = legacy("february_2026")
    found = await _imported(new_target(engine), url)
    ancient = found.row("users", "user_110")
    assert ancient["created_at"] == ancient["updated_at"]
    assert found.codes("users", "110") == {"wrong_time"}
    begun = found.done.started_at.replace(microsecond=found.done.started_at.microsecond)
    assert _moment(found.row("group_list", "group_110")["created_at"]) == begun
    assert _moment(found.row("users", "user_111")["created_at"]) == begun
    assert found.codes("users", "111") == {"missing_time"}
    assert moment_of(START, ZoneInfo("Asia/Taipei")) == START.replace(hour=0, tzinfo=UTC)


@pytest.mark.conformance("M-08")
async def test_rule_8_super_stays_super_and_the_known_hash_opens_nothing(
    legacy: Legacy, new_target: NewTarget, engine: str
) -> None:
    url, _ = legacy("february_2026")
    found = await _imported(new_target(engine), url)
    assert found.row("group_list", "super_group")["group_name"] == "super"
    assert found.row("group_list", "group_180")["group_name"] == "super-180"
    assert [row["g_id"] for row in found.rows["group_list"].values() if row["group_name"] == "super"] == ["super_group"]
    admin = found.row("users", "user_1")
    assert admin["must_change_password"]
    assert (await check_password(admin["password"], "correct horse battery")).matches
    assert "well_known_hash" in found.codes("users", "1")
    assert found.row("user_group", "user_1", "super_group")["role"] == "admin"
    gone = found.row("users", "user_5")
    assert (gone["status"], gone["password"]) == ("delete", OLD_HASH)


@pytest.mark.conformance("M-08")
@pytest.mark.parametrize("name", ["july_2025", "july_2025_first"])
async def test_rule_9_missing_content_is_written_from_the_objects(
    legacy: Legacy, new_target: NewTarget, name: str, engine: str
) -> None:
    url, _ = legacy(name)
    found = await _imported(new_target(engine), url)
    web = next(
        row
        for row in found.rows["config_files"].values()
        if (row["project_id"], row["filename"]) == ("proj_1", "web.yaml")
    )
    # The Secret among them is no object of Holdfast's, but part of the file.
    assert web["content"].startswith(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n---\napiVersion: v1\n"
    )
    assert web["content"].count("\n---\n") == 2
    old_key = web["cf_id"].removeprefix("cf_") if name == "july_2025" else "1:web.yaml"
    notes = [each for each in found.notes("config_files", old_key) if each.code == "content_rebuilt"]
    assert len(notes) == 1
    if name == "july_2025":
        assert (notes[0].old, "it lay at this path" in notes[0].why) == ("projects/1/web.yaml", True)


@pytest.mark.conformance("M-08")
async def test_rule_9_what_was_deleted_arrives_deleted(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    url, _ = legacy("february_2026")
    found = await _imported(new_target(engine), url)
    form = found.row("forms", "form_155")
    assert found.row("deletions", form["deletion_id"])["root_type"] == "form"
    assert found.row("form_messages", "msg_155")["deletion_id"] == form["deletion_id"]
    assert (
        found.row("container_tags", "tag_155")["deletion_id"]
        == (found.row("container_repositories", "repo_155")["deletion_id"])
    )
    for table, key in (("image_requests", "ireq_155"), ("image_allow_list", "rule_155")):
        assert found.row(table, key)["deletion_id"]


@pytest.mark.conformance("M-08")
async def test_rule_10_a_dry_run_counts_what_an_import_does(legacy: Legacy, new_target: NewTarget, engine: str) -> None:
    url, expected = legacy("mixed")
    settings = new_target(engine)
    told: list[Noted] = []
    imagined = await imagine_import(settings, url, Options(), tell=told.append)
    done = await _imported(settings, url)
    assert imagined.outcomes == done.done.outcomes
    assert _lines(told) == _lines(done._told)
    counted: dict[str, int] = {}
    for found in done.done.comparisons:
        if found.table not in {"allowed_images (container_repositories)", "allowed_images (container_tags)"}:
            counted[found.table.partition(" ")[0]] = max(found.rows, counted.get(found.table.partition(" ")[0], 0))
    with open_legacy(url) as older:
        assert {table: count for table, count in counted.items() if count} == {
            table: older.count(table) for table in counted if older.count(table)
        }
    assert set(counted) <= set(expected.source_counts) | set(counted)


def _lines(told: Iterable[Noted]) -> list[tuple[str, str, str, str, list[str]]]:
    """But for times, which each run has its own."""
    return [
        (
            each.table,
            each.entry.old_key,
            each.entry.new_id,
            each.entry.outcome,
            [note.code for note in notes_of(each.entry.notes)],
        )
        for each in told
    ]


def test_secrets_in_old_entries_are_masked() -> None:
    value = {"username": "mei", "Password": "$2a$10$x", "nested": [{"api_token": "abc"}], "count": 1}
    assert _masked(value) == {"username": "mei", "Password": "***", "nested": [{"api_token": "***"}], "count": 1}


def _moment(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if hasattr(value, "replace") and not isinstance(value, str) else value
