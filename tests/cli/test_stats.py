"""`holdfast stats`: what the database does, at the command line."""

from holdfast.core.clock import utc_now
from tests.cli.commandline import CommandLine
from tests.factories import make_group, make_image_request, make_project, make_super_admin, make_user
from tests.instance import Instance


async def test_the_summary_shows_statements_tables_connections_and_the_pool(admin: CommandLine) -> None:
    said = await admin.run("stats")
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines()[0].split()[:3] == ["statement", "runs", "seconds"]
    assert "accounts.find_session" in (await admin.done("stats", "statements", "--limit", 1000))
    assert "This process has" in said.stdout
    assert "in the one process that answered" in said.stderr
    assert "The database has" in said.stderr
    assert set(await admin.json("stats")) == {"statements", "tables", "connections"}


async def test_each_report_has_a_table_and_json(admin: CommandLine, instance: Instance) -> None:
    indexes = await admin.run("stats", "indexes", "--limit", 5)
    assert len(indexes.stdout.splitlines()) == 6
    assert indexes.stdout.split()[:2] == ["table", "index"]
    if instance.engine == "sqlite":
        assert "does not count how often an index is used" in indexes.stderr
    assert {"table", "rows"} <= set((await admin.done("stats", "tables")).splitlines()[0].split())
    assert "connections open" in await admin.done("stats", "connections")
    for report in ("indexes", "tables", "connections"):
        assert (await admin.json("stats", report))["engine"] == instance.engine


async def test_the_orphans_are_listed(admin: CommandLine, instance: Instance) -> None:
    database = instance.database
    u_id = await make_user(database)
    p_id = await make_project(database, await make_group(database))
    reviewed = {"reviewer_id": await make_super_admin(database, "reviewer"), "reviewed_at": utc_now()}
    rejected = await make_image_request(database, u_id, p_id, status="rejected", **reviewed)
    approved = await make_image_request(database, u_id, p_id, status="approved", **reviewed)
    said = await admin.done("stats", "orphans", "--all")
    assert said.splitlines()[0].split() == ["id", "user_id", "project_id"]
    assert sorted(line.split()[0] for line in said.splitlines()[1:]) == sorted([rejected, approved])
    strict = await admin.json("stats", "orphans", "--strict")
    assert strict["items"] == [{"id": approved, "user_id": u_id, "project_id": p_id}]
