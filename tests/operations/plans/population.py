"""A seeded, skewed faculty for the plan review, made by the engine itself: a hundred thousand rows in a second or two.

Nothing is random: each value is arithmetic on the row's number, so every run and every engine has the same rows. A few
projects, groups and people have most of what there is.
"""

from collections.abc import Iterator, Mapping

import msgspec

from holdfast.db.engines.base import Database

_START = "2026-02-05 08:00:00"
# The thousands of rows at full size. `group_list` stays small on purpose, as it does in life.
_THOUSANDS = {
    "users": 20,
    "tokens": 20,
    "user_group": 60,
    "project_list": 12,
    "config_files": 24,
    "resources": 60,
    "forms": 100,
    "form_messages": 150,
    "container_repositories": 12,
    "container_tags": 24,
    "image_requests": 30,
    "image_allow_list": 24,
    "cluster_image_status": 12,
    "audit_logs": 200,
    "course_workloads": 100,
    "deletions": 12,
    "jobs": 20,
    "runs": 60,
    "idempotency_keys": 12,
    "sign_in_failures": 12,
    "audit_archives": 1,
}
_GROUPS = 400


class Dialect(msgspec.Struct, frozen=True):
    """What the engines write differently. `i` is the row's number, from 0."""

    series: str
    text: str
    moment: str
    divide: str


DIALECTS = {
    "postgresql": Dialect(
        "generate_series(0::bigint, {last}) AS s(i)",
        "('{prefix}' || lpad(({number})::text, 6, '0'))",
        "(timestamptz '{start}+00' + ({seconds}) * interval '1 second')",
        "(({number}) / {by})",
    ),
    "mariadb": Dialect(
        "(SELECT seq AS i FROM seq_0_to_{last}) AS s",
        "concat('{prefix}', lpad({number}, 6, '0'))",
        "timestampadd(SECOND, {seconds}, '{start}')",
        "(({number}) DIV {by})",
    ),
    "sqlite": Dialect(
        "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n) AS s",
        "('{prefix}' || printf('%06d', {number}))",
        "strftime('%Y-%m-%d %H:%M:%S.000000', '{start}', ({seconds}) || ' seconds')",
        "(({number}) / {by})",
    ),
}


class Population:
    """The statements that fill an empty database; `scale` 1 is the full size."""

    def __init__(self, dialect_name: str, scale: float = 1.0) -> None:
        self._dialect = DIALECTS[dialect_name]
        self.rows = {name: int(1000 * thousands * scale) for name, thousands in _THOUSANDS.items()}
        self.rows["group_list"] = _GROUPS

    def statements(self) -> Iterator[str]:
        """One INSERT for each table, parents first."""
        yield from self._people()
        yield from self._projects()
        yield from self._forms()
        yield from self._images()
        yield from self._service()

    def _people(self) -> Iterator[str]:
        yield self._insert(
            "users",
            u_id=self._id("user-"),
            username=self._id("u"),
            password="'!'",
            email=self._id("mail-"),
            full_name=self._id("Ada "),
            status=_choice("i % 50", {0: "'online'"}, "'offline'"),
            **self._deleted("user-", 97),
        )
        yield self._insert(
            "tokens",
            id=self._id("token-"),
            user_id=self._id("user-", self._even("users")),
            kind=_choice("i % 10", {0: "'api'"}, "'session'"),
            name=self._id("token "),
            token_hash=self._id("hash-"),
            scopes="''",
            expires_at=self._moment("i * 60 + 31536000"),
        )
        yield self._insert(
            "group_list",
            g_id=_choice("i", {0: "'super_group'"}, self._id("group-")),
            group_name=_choice("i", {0: "'super'"}, self._id("course ")),
            description=self._id("about "),
        )
        users = self.rows["users"]
        place = f"({self._skewed('group_list', f'(i % {users})')} + {self._divide('i', users)} * 133)"
        yield self._insert(
            "user_group",
            u_id=self._id("user-", f"i % {users}"),
            g_id=self._group(place),
            role=_choice("i % 40", {0: "'admin'", 1: "'manager'", 2: "'manager'"}, "'user'"),
            **self._deleted("user-", 97, f"(i % {users})"),
        )

    def _projects(self) -> Iterator[str]:
        yield self._insert(
            "project_list",
            p_id=self._id("project-"),
            project_name=self._id("project "),
            g_id=self._group(self._even("group_list")),
            gpu_quota="i % 16",
            **self._deleted("project-", 89),
        )
        yield self._insert(
            "config_files",
            cf_id=self._id("file-"),
            filename=self._id("f", "i % 499"),
            content="'# nothing'",
            project_id=self._id("project-", self._even("project_list")),
        )
        yield self._insert(
            "resources",
            r_id=self._id("resource-"),
            cf_id=self._id("file-", self._even("config_files")),
            type=_choice("i % 20", {0: "'service'", 1: "'ingress'"}, "'deployment'"),
            name=self._id("deployment/web-"),
            parsed_yaml="'{}'",
        )
        yield self._insert(
            "course_workloads",
            id=self._id("workload-"),
            user_id=self._id("user-", self._skewed("users")),
            project_id=self._id("project-", self._skewed("project_list", "i * 31")),
            name=self._id("train "),
            namespace="'course'",
            image="'docker.io/library/python:3.13'",
            status=_choice("i % 50", {0: "'Running'", 1: "'Pending'", 2: "'Failed'"}, "'Succeeded'"),
            k8s_pod_name=self._id("pod-"),
            priority="1000 + i % 3",
            resource_gpu="i % 4",
            **self._deleted("workload-", 71),
        )

    def _forms(self) -> Iterator[str]:
        yield self._insert(
            "forms",
            id=self._id("form-"),
            user_id=self._id("user-", self._skewed("users")),
            project_id=self._id("project-", self._skewed("project_list", "i * 31")),
            title=self._id("A question about "),
            tag=_choice("i % 20", {0: "'gpu'", 1: "'quota'", 2: "'image'", 3: "'storage'"}, "'other'"),
            status=_choice("i % 25", {0: "'Pending'", 1: "'Processing'", 2: "'Rejected'"}, "'Completed'"),
            **self._deleted("form-", 61),
        )
        yield self._insert(
            "form_messages",
            id=self._id("message-"),
            form_id=self._id("form-", self._even("forms")),
            user_id=self._id("user-", self._skewed("users")),
            content="'Could the deadline job get two GPUs until Friday?'",
            **self._deleted("form-", 61, self._even("forms")),
        )

    def _images(self) -> Iterator[str]:
        yield self._insert(
            "container_repositories",
            id=self._id("repository-"),
            registry=_choice("i % 5", {0: "'ghcr.io'"}, "'docker.io'"),
            namespace="'library'",
            name=self._id("image-"),
            full_name=self._id("docker.io/library/image-"),
            **self._deleted("repository-", 83),
        )
        yield self._insert(
            "container_tags",
            id=self._id("tag-"),
            repository_id=self._id("repository-", self._even("container_repositories")),
            name=self._id("v", "i % 997"),
            digest=self._id("sha256:"),
            pushed_at=self._moment("i * 60"),
        )
        yield self._insert(
            "image_requests",
            id=self._id("request-"),
            user_id=self._id("user-", self._skewed("users")),
            project_id=self._id("project-", self._skewed("project_list", "i * 31")),
            input_image_name=self._id("image-", "i % 900"),
            input_tag="'latest'",
            status=_choice("i % 30", {0: "'pending'", 1: "'rejected'"}, "'approved'"),
            reviewer_id=self._id("user-", f"(i % 40 * 499 % {self.rows['users']})"),
            reviewed_at=self._moment("i * 60 + 3600"),
            **self._deleted("request-", 79),
        )
        yield self._insert(
            "image_allow_list",
            id=self._id("rule-"),
            project_id=_choice("i % 10", {0: "NULL"}, self._id("project-", self._skewed("project_list", "i * 31"))),
            tag_id=self._id("tag-", self._even("container_tags")),
            repository_id=self._id("repository-", self._even("container_repositories")),
            request_id=self._id("request-", self._even("image_requests")),
            created_by=self._id("user-", f"(i % 40 * 499 % {self.rows['users']})"),
            is_enabled=_choice("i % 20", {0: "false"}, "true"),
            **self._deleted("rule-", 73),
        )
        yield self._insert(
            "cluster_image_status",
            id=self._id("status-"),
            tag_id=self._id("tag-"),
            is_pulled=_choice("i % 6", {0: "false"}, "true"),
        )

    def _service(self) -> Iterator[str]:
        kinds = {0: "'user'", 1: "'project'", 2: "'group'", 3: "'image-request'", 4: "'workload'"}
        yield self._insert(
            "audit_logs",
            id="i + 1",
            user_id=self._id("user-", self._skewed("users")),
            actor_name=self._id("u", self._skewed("users")),
            action=_choice("i % 12", {0: "'delete'", 1: "'restore'", 2: "'sign-in'", 3: "'create'"}, "'update'"),
            resource_type=_choice(self._divide("i % 120", 12), kinds, "'form'"),
            resource_id=self._id("form-", self._even("forms")),
            g_id=self._group(self._skewed("group_list", "i * 17")),
            created_at=self._moment("i * 20"),
        )
        yield self._insert(
            "deletions",
            # Those of the numbers that `_deleted` gives to forms come first.
            id=self._id("form-", "i * 61"),
            root_type=_choice("i % 8", {0: "'project'", 1: "'user'"}, "'form'"),
            root_id=self._id("form-", "i * 61"),
            actor_id=self._id("user-", self._skewed("users")),
            actor_name="'somebody'",
            state=_choice("i % 40", {0: "'deleted'", 1: "'failed'", 2: "'restored'"}, "'purged'"),
            planned_counts="'{}'",
            purge_after=self._moment("i * 60 + 2592000"),
        )
        yield self._insert(
            "jobs",
            id=self._id("job-"),
            name=_choice("i % 4", {0: "'accounts.cleanup'", 1: "'deletions.purge'"}, "'retention.run'"),
            arguments="'{}'",
            state=_choice("i % 100", {0: "'waiting'", 1: "'failed'"}, "'done'"),
            run_at=self._moment("i * 60"),
            created_at=self._moment("i * 60"),
            every_seconds=_choice("i % 2000", {0: "600"}, "NULL"),
        )
        yield self._insert(
            "runs",
            id=self._id("run-"),
            name=_choice("i % 4", {0: "'accounts.cleanup'", 1: "'deletions.purge'"}, "'retention.run'"),
            host="'here:1'",
            started_at=self._moment("i * 30"),
            finished_at=self._moment("i * 30 + 5"),
            outcome=_choice("i % 50", {0: "'failed'", 1: "'lost'"}, "'done'"),
            job_id=self._id("job-", "i % 20000"),
        )
        yield self._insert(
            "idempotency_keys",
            user_id=self._id("user-", "i % 900"),
            idempotency_key=self._id("key-"),
            fingerprint="'f'",
            status="201",
            created_at=self._moment("i * 60"),
        )
        yield self._insert(
            "sign_in_failures",
            subject=self._id("name:"),
            failures="i % 5",
            window_started_at=self._moment("i * 60"),
        )
        yield self._insert(
            "audit_archives",
            id=self._id("archive-"),
            first_id="i * 10 + 1",
            last_id="i * 10 + 10",
            made_before=self._moment("i * 60"),
            row_count="10",
            bundle_path="'b'",
            bundle_sha256="'h'",
        )

    def _insert(self, table: str, **columns: str) -> str:
        if table not in {"sign_in_failures", "runs"}:
            columns.setdefault("created_at", self._moment("i * 60"))
        names, values = ", ".join(columns), ", ".join(columns.values())
        series = self._dialect.series.format(last=self.rows[table] - 1)
        return f"INSERT INTO {table} ({names}) SELECT {values} FROM {series}"

    def _id(self, prefix: str, number: str = "i") -> str:
        return self._dialect.text.format(prefix=prefix, number=number)

    def _group(self, number: str) -> str:
        # Few are super administrators, although the first group is the largest of each kind.
        shifted = f"(({number} + 7) % {_GROUPS})"
        return f"CASE {shifted} WHEN 0 THEN 'super_group' ELSE {self._id('group-', shifted)} END"

    def _moment(self, seconds: str) -> str:
        return self._dialect.moment.format(start=_START, seconds=seconds)

    def _divide(self, number: str, by: int) -> str:
        return self._dialect.divide.format(number=number, by=by)

    def _even(self, table: str) -> str:
        return f"(i * 7919 % {self.rows[table]})"

    def _skewed(self, table: str, number: str = "i") -> str:
        """A row of the table: an eighth of them gets half of all."""
        place = f"({number} * 7919 % 997)"
        return f"({self._divide(f'{place} * {place} * {place} * {self.rows[table] - 1}', 997**3)})"

    def _deleted(self, prefix: str, every: int, number: str = "i") -> Mapping[str, str]:
        """One row in `every` is deleted, by a deletion that bears its name."""
        is_deleted = f"{number} % {every} = 0"
        return {
            "deleted_at": f"CASE WHEN {is_deleted} THEN {self._moment('86400')} END",
            "deletion_id": f"CASE WHEN {is_deleted} THEN {self._id(prefix, number)} ELSE '' END",
        }


def _choice(number: str, values: Mapping[int, str], otherwise: str) -> str:
    cases = " ".join(f"WHEN {key} THEN {value}" for key, value in values.items())
    return f"CASE {number} {cases} ELSE {otherwise} END"


async def populate(database: Database, scale: float = 1.0) -> None:
    """Fill an empty database and let the engine look at all of it, so that its estimates are the same in each run."""
    population = Population(database.dialect_name, scale)
    async with database.write() as tx:
        for statement in _quiet(database.dialect_name, list(population.rows)):
            await tx.fetch_text(statement)
    async with database.write() as tx:
        for statement in population.statements():
            await tx.fetch_text(statement)
    async with database.write() as tx:
        for statement in _statistics(database.dialect_name, list(population.rows)):
            await tx.fetch_text(statement)


def _quiet(dialect_name: str, tables: list[str]) -> list[str]:
    """The engine must not look at the rows when it pleases: what it samples differs from run to run."""
    setting = {
        "postgresql": "SET (autovacuum_enabled = false)",
        "mariadb": "STATS_AUTO_RECALC = 0, STATS_SAMPLE_PAGES = 5000",
    }.get(dialect_name)
    return [] if setting is None else [f"ALTER TABLE {table} {setting}" for table in tables]


def _statistics(dialect_name: str, tables: list[str]) -> list[str]:
    """Statistics of every row. Holdfast gives SQLite none."""
    if dialect_name == "postgresql":
        return ["SET LOCAL default_statistics_target = 1000", "ANALYZE"]
    return [f"ANALYZE TABLE {table}" for table in tables] if dialect_name == "mariadb" else []
