"""Generated requests, fitting and not, against every route as a super administrator: never 5xx (target R4).

What comes back is held against the description, too: its status, its media type and its fields.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.factories import make_token
from tests.instance import Instance
from tests.rules import permission_world as make
from tests.rules.permission_world import Ids, World

_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,negative_data_rejection"
)
# Signing out would end the token that all other requests use.
_SIGNING_OUT = "ApiV1SessionsCurrentSignOut"
_SEED = 20_270_117
_EXAMPLES_PER_ROUTE = 10
_MOST_SECONDS = 110


@pytest.mark.slow
async def test_generated_requests_find_no_mistake_of_ours(instance: Instance, tmp_path: Path) -> None:
    world = await World(instance).fill()
    (tmp_path / "schemathesis.toml").write_text(_configuration(await _known_ids(world)), "utf-8")
    token = await make_token(instance.database, world.id_of("super"))
    output = await _run(instance, token, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert (await instance.client(token).get("/me")).status_code == 200, "the run lost its token on the way"
    assert not report["failures"], output
    assert not report["errors"], output
    assert report["operations"]["tested"] == report["operations"]["total"] - 1
    assert report["test_cases"]["generated"] > 1000


async def _known_ids(world: World) -> Ids:
    """Things that there are, so that requests reach what lies behind the look-up."""
    ids: Ids = {}
    for maker in (
        make.member,
        make.project,
        make.config_file,
        make.form,
        make.image_request,
        make.project_rule,
        make.repository,
        make.workload,
        make.token_of_self,
        make.deleted_project,
    ):
        ids |= await maker(world)
    del ids["self"]
    return ids


def _configuration(ids: Ids) -> str:
    """Ids in paths, filters and bodies are mostly those of things that there are."""
    named = ids | {"project_id": ids["p_id"], "user_id": ids["u_id"]}
    lines = [line for name, value in named.items() for line in (f"[dictionaries.{name}]", f'values = ["{value}"]')]
    lines.append("[parameters]")
    for name in named:
        place = "query" if name in {"project_id", "user_id"} else "path"
        lines.append(f'"{place}.{name}" = {{ dictionary = "{name}", probability = 0.7 }}')
    lines += [f'"body.{name}" = {{ dictionary = "{name}", probability = 0.7 }}' for name in ("g_id", "project_id")]
    return "\n".join(lines) + "\n"


async def _run(instance: Instance, token: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "st",
        "--config-file=schemathesis.toml",
        "--no-color",
        "run",
        f"{instance.base_url}/api/v1/openapi.json",
        f"--header=Authorization:Bearer {token}",
        f"--checks={_CHECKS}",
        f"--exclude-operation-id={_SIGNING_OUT}",
        "--phases=coverage,fuzzing",
        f"--max-examples={_EXAMPLES_PER_ROUTE}",
        f"--seed={_SEED}",
        "--continue-on-failure",
        "--generation-database=none",
        "--report-json-path=report.json",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_MOST_SECONDS + 60):
        output, _ = await process.communicate()
    return output.decode()
