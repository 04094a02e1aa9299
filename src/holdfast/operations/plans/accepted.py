"""The statements that may break a rule of the review by their nature, and why."""

import msgspec


class Accepted(msgspec.Struct, frozen=True):
    """Statements whose whole name matches the pattern may break the rules."""

    statements: str
    rules: tuple[str, ...]
    reason: str


_READS = ("scan", "whole-index", "examined")
_ONE_PARENT = r"(config_files|resources|tags|members|tokens|user_groups)(_include_deleted)?"

ACCEPTED: tuple[Accepted, ...] = (
    Accepted(
        r"\w+\.(count|list|after)\((\w+,)+?q(,\w+)*\).*",
        (*_READS, "sort"),
        "a search for a text within words can use no index; filters beside it narrow what is read",
    ),
    Accepted(
        r"\w+\.count\(all\)",
        ("scan", "whole-index"),
        "the number of all rows is counted from the smallest index, or the table; by cursor once a list",
    ),
    Accepted(
        r"deletions\.count\(all,root_type\)",
        ("whole-index",),
        "SQLite counts the deletions of a type from the index that ends with it",
    ),
    Accepted(
        r"images\.count\(visible(,is_enabled)?\)|workloads\.count\(visible,project_id\)",
        ("examined",),
        "PostgreSQL reads the rules or workloads of the caller's projects, then asks of each whether it is theirs",
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
        _ONE_PARENT + r"\.after\(.*\).*|groups\.after\(own\).*"
        r"|projects(_include_deleted)?\.after\((visible|visible,g_id|all,g_id)\).*",
        ("sort",),
        "the rows of one parent, or of one person's groups, are sorted: hundreds, not the table",
    ),
    Accepted(
        r"forms\.after\(visible\):-?created_at",
        ("sort",),
        "SQLite reads own forms and those of the staff's projects by two indexes, each with its own order",
    ),
    Accepted(
        r"image_requests\.after\(visible(,project_id)?(,status)?(,user_id)?\):-?created_at",
        ("sort",),
        "SQLite lists own requests and those of the staff's projects first: only those are sorted",
    ),
    Accepted(
        r"images\.after\(visible(,is_enabled)?(,project_id)?\):-?created_at",
        ("sort",),
        "SQLite reads the rules for all projects beside those of the caller's, each with its own order",
    ),
    Accepted(
        r"workloads\.after\(visible\):-?created_at"
        r"|workloads\.after\(visible(,project_id)?(,status)?(,user_id)?\):-?priority",
        ("sort",),
        "SQLite reads the workloads of each of the caller's projects: an index has their order within one project",
    ),
    Accepted(
        r"workloads\.(list|after)\(visible,project_id\):-?(created_at|priority)",
        ("examined",),
        "PostgreSQL reads the page from the order of all workloads, where the project named has many of them",
    ),
    Accepted(
        r"users\.after\(administered(,g_id)?(,status)?(,type)?\):-?(created_at|username)",
        ("sort",),
        "the members of the groups that somebody administers are sorted: some hundreds of people",
    ),
    Accepted(
        r"users(_include_deleted)?\.(list|after|count)\(all,.*\).*",
        ("scan", "examined", "sort"),
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
        ("scan", "examined", "sort"),
        "asked only where a project or a user is named: each form of theirs is looked at",
    ),
    Accepted(
        r"(reviewed|approved)_orphans\..*",
        ("examined", "sort", "scan"),
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
    Accepted(
        r"doctor\..*",
        (*_READS, "sort"),
        "the doctor reads everything once a day, in snapshots that hold nobody up, to find what should not be there",
    ),
    Accepted(r"demo\..*", _READS, "the demo fills an empty database"),
    Accepted(
        r"(tables|transfer|drill|backups)\..*",
        (*_READS, "sort"),
        "checksums, exports and drills read every row there is, in pages, as one moment had them",
    ),
)

# What MariaDB reads beside that. It does not tell what a count was given, so only the rows of the page are returned.
ACCEPTED_ON_MARIADB: tuple[Accepted, ...] = (
    Accepted(
        r"groups(_include_deleted)?\.(list|after)\((all|own)\):-?(created_at|group_name)",
        ("examined",),
        "the members and projects of each group of the page are counted: a few groups have thousands",
    ),
    Accepted(
        r"projects_include_deleted\.list\(all\):-?(created_at|gpu_quota|project_name)",
        ("examined",),
        "the projects of all groups, deleted ones too, are sorted for a super administrator: thousands",
    ),
    Accepted(
        r"users\.(list|after)\(administered(,status|,type)?\):-?(created_at|username)",
        ("examined",),
        "the members of the groups that somebody administers are told apart before they are sorted: thousands at most",
    ),
    Accepted(
        r"forms\.(list|after)\(visible(,status|,tag)?\):-?created_at",
        ("examined",),
        "some hundred forms of the caller and of the staff's projects are listed first, each with its names",
    ),
    Accepted(
        r"(forms|image_requests)\.(list|after)\(visible,(project_id|user_id)\):-?created_at",
        ("examined",),
        "what the project or the person named has is read, with its names, and of each is asked whether the caller"
        " may see it",
    ),
    Accepted(
        r"workloads\.(list|after)\(visible(,status)?\):-?(created_at|priority)",
        ("examined",),
        "some hundred workloads of the caller's projects are read and sorted, each with its names",
    ),
    Accepted(
        r"workloads(_include_deleted)?\.after\(all,(project_id|user_id)\):-priority",
        ("examined",),
        "the rows of one project or person are sorted by priority: thousands, not the table",
    ),
    Accepted(
        r"images(_include_deleted)?\.(list|after)\((all|visible),project_id\):-?created_at",
        ("examined",),
        "the rules of one project and those for all come by two ranges of an index, and are sorted",
    ),
)

# Where PostgreSQL keeps a plan made without the parameters, these may break rules that they keep with them.
ACCEPTED_GENERIC: tuple[Accepted, ...] = (
    Accepted(
        r"workloads(_include_deleted)?\.(list|after)\(all,(project_id|user_id)\):-?priority",
        ("examined",),
        "the rows of one project or person are sorted by priority, however many they are: thousands, not the table",
    ),
    Accepted(
        r"workloads\.(list|after|count)\(visible,user_id\).*",
        ("examined",),
        "the workloads of the person named are read, and of each is asked whether the caller may see it",
    ),
    Accepted(
        r"images\.count\(all,is_enabled\)",
        ("examined",),
        "the rules that are enabled, or are not, are counted with their repositories, which may be deleted",
    ),
)
