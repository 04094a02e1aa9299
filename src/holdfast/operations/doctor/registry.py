"""All checks, in the order in which they are made, and the order in which their cures are applied."""

from holdfast.operations.doctor import (
    audit_log,
    bundles,
    catalogue_objects,
    deletion_counts,
    expired,
    folders,
    marks,
    orphans,
    rules,
    schema,
    servers,
    times,
    working_state,
)
from holdfast.operations.doctor.orphan_cure import RemoveOrphans
from holdfast.operations.doctor.types import Check

_SERVERS = ("postgresql", "mariadb")

CHECKS: tuple[Check, ...] = (
    Check(name="migrations", summary="every migration has run", find=schema.find_pending, needs_tables=False),
    Check(
        name="schema",
        summary="tables, columns, indexes, constraints, views and procedures are those of this version",
        find=schema.find_drift,
        cure=schema.MendSchema(),
        needs_tables=False,
    ),
    Check(
        name="database_settings",
        summary="version, encoding, time zone, durability and isolation of the database",
        find=servers.find_wrong_settings,
        needs_tables=False,
    ),
    Check(
        name="file_damage",
        summary="the database file is whole",
        find=servers.find_damage,
        dialects=("sqlite",),
        needs_tables=False,
    ),
    Check(
        name="invalid_indexes",
        summary="no index was left half made",
        find=catalogue_objects.INVALID_INDEXES.find,
        cure=catalogue_objects.INVALID_INDEXES,
        dialects=("postgresql",),
    ),
    Check(
        name="unproven_constraints",
        summary="every constraint is proven for all rows",
        find=catalogue_objects.UNPROVEN_CONSTRAINTS.find,
        cure=catalogue_objects.UNPROVEN_CONSTRAINTS,
        dialects=("postgresql",),
    ),
    Check(
        name="keys_switched_off",
        summary="no foreign key is switched off",
        find=catalogue_objects.SWITCHED_OFF_KEYS.find,
        cure=catalogue_objects.SWITCHED_OFF_KEYS,
        dialects=("postgresql",),
    ),
    Check(
        name="unlogged_tables",
        summary="every table survives a crash",
        find=catalogue_objects.UNLOGGED_TABLES.find,
        cure=catalogue_objects.UNLOGGED_TABLES,
        dialects=("postgresql",),
    ),
    Check(
        name="table_engines",
        summary="every table is an InnoDB table",
        find=catalogue_objects.OTHER_ENGINES.find,
        cure=catalogue_objects.OTHER_ENGINES,
        dialects=("mariadb",),
    ),
    Check(
        name="statistics",
        summary="the planner knows the large tables",
        find=servers.find_missing_statistics,
        cure=servers.Analyze(),
        dialects=("postgresql",),
    ),
    Check(
        name="clock_skew",
        summary="this machine and the database server agree on the time",
        find=times.find_clock_skew,
        dialects=_SERVERS,
        needs_tables=False,
    ),
    Check(
        name="administrators",
        summary="group super, user admin and an active super administrator are there",
        find=rules.find_missing_administrators,
        cure=rules.MakeAdministrators(),
    ),
    Check(
        name="orphans",
        summary="every row has the parents that its foreign keys name",
        find=orphans.find_orphans,
        cure=RemoveOrphans(),
    ),
    Check(
        name="unknown_deletions",
        summary="every deleted row bears a deletion that is recorded",
        find=marks.find_unknown_deletions,
        cure=marks.RecordDeletions(),
    ),
    Check(
        name="finished_deletions",
        summary="no row bears a deletion that is purged or restored",
        find=marks.find_finished_deletions,
        cure=marks.ReopenDeletions(),
    ),
    Check(
        name="live_under_deleted",
        summary="no live row hangs on a deleted one",
        find=marks.find_live_under_deleted,
        cure=marks.MarkWithParent(),
    ),
    Check(
        name="deletion_counts",
        summary="deletions have the rows that they say",
        find=deletion_counts.find_wrong_counts,
        cure=deletion_counts.SettleCounts(),
    ),
    Check(
        name="bundles",
        summary="every recovery bundle is there and unchanged",
        find=bundles.find_damaged_bundles,
        cure=bundles.MendBundles(),
    ),
    Check(
        name="leftover_files",
        summary="the folder of bundles holds nothing that nobody names",
        find=bundles.find_leftover_files,
        cure=bundles.RemoveHalves(),
    ),
    Check(
        name="audit_archives",
        summary="every archive of the audit log is there and unchanged",
        find=audit_log.find_damaged_archives,
    ),
    Check(name="audit_gaps", summary="no entry is gone from the audit log unexplained", find=audit_log.find_gaps),
    Check(
        name="audit_numbers",
        summary="new entries of the audit log get a free number",
        find=audit_log.find_taken_numbers,
        cure=audit_log.SetNumber(),
    ),
    Check(name="gpu_quotas", summary="no project holds more GPUs than its quota", find=rules.find_over_quota),
    Check(name="group_admins", summary="every group with members has an admin", find=rules.find_groups_without_admin),
    Check(
        name="rule_repositories",
        summary="every rule of the allow list names a tag of its own repository",
        find=rules.find_rules_of_other_repositories,
    ),
    Check(
        name="approved_requests",
        summary="every approved image request has its rule",
        find=rules.find_approved_without_rule,
    ),
    Check(name="unique_names", summary="what must be unique is", find=rules.find_doubled),
    Check(name="broken_checks", summary="every row keeps the checks of its table", find=rules.find_broken_checks),
    Check(name="future_times", summary="no row is from the future", find=times.find_future_times),
    Check(
        name="time_forms",
        summary="times have the form that sorts as time does",
        find=times.find_wrong_forms,
        dialects=("sqlite",),
    ),
    Check(
        name="stuck_jobs",
        summary="no job waits for a worker that is gone",
        find=working_state.find_stuck_jobs,
        cure=working_state.RELEASING_JOBS,
    ),
    Check(
        name="abandoned_purges",
        summary="no purge waits for a worker that is gone",
        find=working_state.find_abandoned_purges,
        cure=working_state.RELEASING_PURGES,
    ),
    Check(name="late_jobs", summary="jobs run when they are due", find=working_state.find_late_jobs),
    Check(name="failed_work", summary="no job and no purge was given up", find=working_state.find_failed),
    Check(
        name="schedule",
        summary="periodic jobs are there and run in their intervals",
        find=working_state.find_schedule_faults,
        cure=working_state.RunNow(),
    ),
    Check(
        name="expired_rows",
        summary="what has expired is removed",
        find=expired.find_expired,
        cure=expired.RemoveExpired(),
    ),
    Check(name="drill", summary="a restore was proven within a month", find=working_state.find_old_drill),
    Check(name="bundle_folder", summary="the folder of bundles is there", find=folders.find_missing_folder),
    Check(name="disk_space", summary="there is room on the disks", find=folders.find_full_disks),
    Check(
        name="file_permissions",
        summary="nobody else may write to the files",
        find=folders.find_open_files,
        cure=folders.CloseFiles(),
    ),
)
BY_NAME = {check.name: check for check in CHECKS}

# The service's own actor comes first, for the audit log. What makes rows whole comes before what holds them to it.
_LAST = ("live_under_deleted", "deletion_counts", "unproven_constraints", "schema")
CURES: tuple[Check, ...] = tuple(
    sorted(
        (check for check in CHECKS if check.cure is not None),
        key=lambda check: (check.name != "administrators", _LAST.index(check.name) if check.name in _LAST else -1),
    )
)
