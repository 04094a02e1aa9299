"""The statements that may break a rule of the review by their nature, and why."""

import msgspec


class Accepted(msgspec.Struct, frozen=True):
    """Statements whose whole name matches the pattern may break the rules."""

    statements: str
    rules: tuple[str, ...]
    reason: str


_READS = ("scan", "whole-index", "examined")
_ONE_PARENT = (
    r"(config_files|resources|tags|members|tokens|user_groups|groups|projects|form_messages)(_include_deleted)?"
)

ACCEPTED: tuple[Accepted, ...] = (
    Accepted(
        r"\w+\.(count|list|after)\((\w+,)+?q(,\w+)*\).*",
        (*_READS, "sort"),
        "a search for a text within words can use no index; filters beside it narrow what is read",
    ),
    Accepted(
        r"[\w.]+\.count\(.*\)",
        _READS,
        "a count reads every row that it counts; by cursor it is asked for once a list",
    ),
    Accepted(
        r"audit\.\w+\(.*actor_name.*\).*",
        (*_READS, "sort"),
        "the name of an actor is for people who have no id; an index for it would cost each change of anything",
    ),
    Accepted(
        r"audit\.\w+\((all|administered),.*(user_id|resource_id).*\).*|audit\.\w+\(administered.*\).*",
        ("examined", "sort"),
        "the entries of one person, object or administrator's groups are sorted; audit_logs, which every change"
        " writes to, gets no further index for it",
    ),
    Accepted(
        _ONE_PARENT + r"\.after\(.*\).*",
        ("sort",),
        "the rows of one parent, or of one person's groups, are sorted: hundreds, not the table",
    ),
    Accepted(
        r"(forms|image_requests|workloads|images|users)(_include_deleted)?\.(list|after)\((visible|administered).*\).*",
        ("examined", "sort"),
        "what a person may see lies in several projects, each with its own order; only those rows are read",
    ),
    Accepted(
        r"users(_include_deleted)?\.(list|after)\(all.*\).*",
        (*_READS, "sort"),
        "users are thousands, not millions: those of a status, type or group are sorted in milliseconds",
    ),
    Accepted(
        r"workloads(_include_deleted)?\.after\(all,.*\):-?priority",
        ("sort",),
        "the order by priority is for what waits; of one status, person or project its rows are sorted",
    ),
    Accepted(
        r"images(_include_deleted)?\.(list|after)\(all,.*\).*",
        ("sort",),
        "rules for all projects come beside those of one, in one order: the few of both are sorted",
    ),
    Accepted(
        r"deletions\.after\(all,.*root_id.*\).*",
        ("sort",),
        "the deletions of one object are sorted: few are deleted twice",
    ),
    Accepted(
        r"forms\.(list|count|after)\(visible_among_few.*",
        (*_READS, "sort"),
        "asked only where a project or a user is named: each form of theirs is looked at",
    ),
    Accepted(
        r"(reviewed|approved)_orphans\..*",
        (*_READS, "sort"),
        "the seed's question what has no counterpart looks at every request; it is asked by an operator",
    ),
    Accepted(
        r"(bundle|retention|recover|purge)\..*",
        _READS,
        "the worker's own time: what a deletion takes is read whole, in pages, beside those who wait for nothing",
    ),
    Accepted(
        r"deletions\.(count|running_workloads|enabled_rules|lock_rules|protected|last_admin|lock_\w+).*",
        _READS,
        "a plan of deletion looks at everything beneath its root, once before somebody decides",
    ),
    Accepted(
        r"workloads\.sum_gpus_in_use",
        ("examined",),
        "a project's workloads are read to find those that run, under the lock of its quota",
    ),
    Accepted(r"demo\..*", _READS, "the demo fills an empty database"),
)
