"""Config files and their resources over HTTP (conformance F-01 to F-05, F-12, F-13, T-36, X-04)."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.cast import Cast, audit_entries, count_rows
from tests.factories import make_config_file, make_project, make_token
from tests.instance import Instance

PROJECT = Path(__file__).parents[2]
EXAMPLES = sorted((PROJECT / "tests" / "data" / "manifests").glob("*/*.yaml"))
# A collection of manifests from kubernetes/examples, where it lies beside the project.
REAL = sorted((PROJECT.parent / "shared" / "data" / "manifests").glob("*"))

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  template:
    spec:
      containers:
        - {name: web, image: "nginx:1.27", env: [{name: DB_PASSWORD, value: old-secret}]}
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: blue}\n"


def documents(*texts: str) -> str:
    return "---\n".join(texts)


def gpu_pod(name: str, gpus: int) -> str:
    limits = f"{{limits: {{nvidia.com/gpu: {gpus}}}}}"
    container = f"{{name: main, image: cuda, resources: {limits}}}"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{container}]}}\n"


def read_examples() -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in [*EXAMPLES, *REAL]}


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    return await Cast(instance).fill()


async def create(cast: Cast, content: str, filename: str = "web.yaml") -> dict[str, Any]:
    answer = await cast.manager.post(
        f"/projects/{cast.p_id}/config-files", json={"filename": filename, "content": content}
    )
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def replace(cast: Cast, file: dict[str, Any], content: str, **headers: str) -> httpx.Response:
    return await cast.manager.put(f"/config-files/{file['cf_id']}", json={"content": content}, headers=headers)


def ids_by_name(file: dict[str, Any]) -> dict[str, str]:
    return {resource["name"]: resource["r_id"] for resource in file["resources"]}


@pytest.mark.conformance("F-01", "F-03")
async def test_a_file_is_stored_with_a_resource_for_each_document(cast: Cast) -> None:
    content = documents(WEB, SERVICE)
    answer = await cast.manager.post(
        f"/projects/{cast.p_id}/config-files", json={"filename": "web.yaml", "content": content}
    )
    assert answer.status_code == 201, answer.text
    file = answer.json()
    assert file.items() >= {"filename": "web.yaml", "project_id": cast.p_id, "content": content}.items()
    assert [resource["name"] for resource in file["resources"]] == ["deployment/web", "service/web"]
    read = await cast.user.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == file
    assert read.headers["ETag"] == answer.headers["ETag"]
    listed = (await cast.user.get(f"/config-files/{file['cf_id']}/resources")).json()
    assert [(each["type"], each["parsed_yaml"]["kind"]) for each in listed["items"]] == [
        ("deployment", "Deployment"),
        ("service", "Service"),
    ]


@pytest.mark.conformance("F-05")
async def test_the_text_comes_back_as_it_was_sent(cast: Cast) -> None:
    head = "  apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: notes}\n"
    content = head + "  data:\n    text: |\n      a\n      ---\n      b 😀\n"
    file = await create(cast, content)
    assert (await cast.user.get(f"/config-files/{file['cf_id']}")).json()["content"] == content
    (resource,) = (await cast.user.get(f"/config-files/{file['cf_id']}/resources")).json()["items"]
    assert resource["parsed_yaml"]["data"]["text"] == "a\n---\nb 😀\n"


@pytest.mark.parametrize(
    ("role", "status"),
    [("super_admin", 201), ("admin", 201), ("manager", 201), ("user", 403), ("outsider", 404)],
)
async def test_who_may_store_a_file(cast: Cast, role: str, status: int) -> None:
    answer = await getattr(cast, role).post(
        f"/projects/{cast.p_id}/config-files", json={"filename": "web.yaml", "content": SERVICE}
    )
    assert answer.status_code == status
    assert await count_rows(cast.instance, "config_files") == (status == 201)


@pytest.mark.parametrize(
    ("role", "reading", "writing"),
    [("super_admin", 200, 200), ("admin", 200, 200), ("manager", 200, 200), ("user", 200, 403), ("outsider", 404, 404)],
)
async def test_who_may_read_and_change_a_file(cast: Cast, role: str, reading: int, writing: int) -> None:
    file = await create(cast, SERVICE)
    client, path = getattr(cast, role), f"/config-files/{file['cf_id']}"
    (r_id,) = ids_by_name(file).values()
    for read in (path, f"{path}/resources", f"{path}/resources/{r_id}", f"/projects/{cast.p_id}/config-files"):
        assert (await client.get(read)).status_code == reading, read
    assert (await client.put(path, json={"content": SETTINGS})).status_code == writing
    assert (await client.patch(path, json={"filename": "new.yaml"})).status_code == writing


async def test_what_does_not_exist_and_what_is_hidden_answer_alike(cast: Cast) -> None:
    file = await create(cast, SERVICE)
    hidden = await cast.outsider.get(f"/config-files/{file['cf_id']}")
    unknown = await cast.outsider.get("/config-files/nowhere")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.json()["detail"] == unknown.json()["detail"]
    assert (await cast.manager.get(f"/config-files/{file['cf_id']}/resources/nothing")).status_code == 404
    assert (await cast.manager.put("/config-files/nowhere", json={"content": SERVICE})).status_code == 404


async def test_files_are_listed_without_their_content(cast: Cast) -> None:
    for filename in ("b.yaml", "a.yaml", "notes_1.yaml"):
        await create(cast, SERVICE, filename)
    other = await make_project(cast.database, cast.g_id, "other")
    await make_config_file(cast.database, other, "elsewhere.yaml")

    async def names(**parameters: str) -> list[str]:
        answer = (await cast.user.get(f"/projects/{cast.p_id}/config-files", params=parameters)).json()
        assert answer["total"] == len(answer["items"])
        assert all("content" not in file and file["resource_count"] == 1 for file in answer["items"])
        return [file["filename"] for file in answer["items"]]

    assert await names() == ["a.yaml", "b.yaml", "notes_1.yaml"]
    assert await names(sort="-created_at") == ["notes_1.yaml", "a.yaml", "b.yaml"]
    assert await names(filename="b.yaml") == ["b.yaml"]
    assert await names(q="S_1") == ["notes_1.yaml"]


async def test_cursors_walk_the_files_once(cast: Cast) -> None:
    made = {(await create(cast, SERVICE, f"{number}.yaml"))["cf_id"] for number in range(5)}
    seen: list[str] = []
    parameters: dict[str, Any] = {"limit": 2}
    while True:
        answer = (await cast.user.get(f"/projects/{cast.p_id}/config-files", params=parameters)).json()
        seen += [file["cf_id"] for file in answer["items"]]
        if answer["next"] is None:
            break
        parameters["cursor"] = answer["next"]
    assert len(seen) == 5
    assert set(seen) == made


@pytest.mark.conformance("F-03")
@pytest.mark.parametrize(
    "filename", ["", " ", ".", "..", ".hidden", "a/b.yaml", "a\\b.yaml", "a\nb", "a\x00b", "x" * 201, " a", "a\u202eb"]
)
async def test_what_is_no_plain_file_name_is_refused(cast: Cast, filename: str) -> None:
    file = await create(cast, SERVICE)
    body = {"filename": filename, "content": SERVICE}
    answers = [
        await cast.manager.post(f"/projects/{cast.p_id}/config-files", json=body),
        await cast.manager.put(f"/config-files/{file['cf_id']}", json=body),
        await cast.manager.patch(f"/config-files/{file['cf_id']}", json={"filename": filename}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(422, "filename_refused")] * 3
    assert await count_rows(cast.instance, "config_files") == 1


async def test_a_name_in_any_script_of_200_characters_is_stored(cast: Cast) -> None:
    filename = "課" * 195 + ".yaml"
    assert (await create(cast, SERVICE, filename))["filename"] == filename


@pytest.mark.conformance("T-36")
async def test_a_name_stands_once_in_a_project(cast: Cast) -> None:
    await create(cast, SERVICE, "a.yaml")
    second = await create(cast, SERVICE, "b.yaml")
    body = {"filename": "a.yaml", "content": SETTINGS}
    answers = [
        await cast.manager.post(f"/projects/{cast.p_id}/config-files", json=body),
        await cast.manager.put(f"/config-files/{second['cf_id']}", json=body),
        await cast.manager.patch(f"/config-files/{second['cf_id']}", json={"filename": "a.yaml"}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "filename_taken")] * 3
    assert (await cast.manager.get(f"/config-files/{second['cf_id']}")).json() == second
    assert await count_rows(cast.instance, "resources") == 2
    other = await make_project(cast.database, cast.g_id, "other")
    answer = await cast.manager.post(f"/projects/{other}/config-files", json=body)
    assert answer.status_code == 201


@pytest.mark.conformance("T-36", "X-04")
async def test_of_many_who_store_one_name_at_once_one_succeeds(cast: Cast) -> None:
    body = {"filename": "web.yaml", "content": documents(WEB, SERVICE)}
    answers = await asyncio.gather(
        *(cast.manager.post(f"/projects/{cast.p_id}/config-files", json=body) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert await count_rows(cast.instance, "config_files") == 1
    assert await count_rows(cast.instance, "resources") == 2
    assert len(await audit_entries(cast.instance, "config-file")) == 1


@pytest.mark.conformance("F-02", "X-04")
async def test_a_refused_text_names_its_places_and_stores_nothing(cast: Cast) -> None:
    content = documents(SERVICE, "apiVersion: v1\nkind: Pod\nmetadata: {}\n", "apiVersion: v1\nmetadata: {name: a}\n")
    answer = await cast.manager.post(
        f"/projects/{cast.p_id}/config-files", json={"filename": "web.yaml", "content": content}
    )
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_manifest"
    assert problem["detail"].startswith("document 2, line ")
    assert [(each["document"], each["line"]) for each in problem["errors"]] == [(2, 8), (3, 10)]
    assert await count_rows(cast.instance, "config_files") == 0
    assert await count_rows(cast.instance, "audit_logs") == 0


@pytest.mark.conformance("F-03")
@pytest.mark.parametrize(
    "content",
    [
        "",
        "# nothing\n",
        "kind: [",
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(20)),
        documents(SERVICE, SERVICE),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
        f"{SETTINGS}# {'x' * 1_048_576}",
        "a\x00b",
    ],
    ids=["empty", "comment", "broken", "aliases", "twice", "kind", "too long", "NUL"],
)
async def test_a_text_that_cannot_stand_is_refused_with_its_place(cast: Cast, content: str) -> None:
    file = await create(cast, SETTINGS)
    stored = await cast.manager.post(
        f"/projects/{cast.p_id}/config-files", json={"filename": "other.yaml", "content": content}
    )
    replaced = await replace(cast, file, content)
    for answer in (stored, replaced):
        assert answer.status_code == 422
        assert answer.json()["errors"][0].keys() == {"document", "line", "path", "reason"}
    assert (await cast.manager.get(f"/config-files/{file['cf_id']}")).json() == file
    assert await count_rows(cast.instance, "config_files") == 1


async def test_a_request_beyond_the_size_limit_is_refused(cast: Cast) -> None:
    answer = await cast.manager.post(
        f"/projects/{cast.p_id}/config-files", json={"filename": "web.yaml", "content": "x" * 10_000_000}
    )
    assert answer.status_code == 413


@pytest.mark.conformance("F-12")
@pytest.mark.parametrize(("gpu_quota", "asked", "status"), [(0, 1, 422), (2, 2, 201), (2, 3, 422)])
async def test_a_pod_that_asks_for_more_gpus_than_the_quota_is_refused(
    cast: Cast, gpu_quota: int, asked: int, status: int
) -> None:
    await cast.super_admin.patch(f"/projects/{cast.p_id}", json={"gpu_quota": gpu_quota})
    answer = await cast.manager.post(
        f"/projects/{cast.p_id}/config-files",
        json={"filename": "gpu.yaml", "content": documents(SERVICE, gpu_pod("training", asked))},
    )
    assert answer.status_code == status, answer.text
    if status == 422:
        problem = answer.json()
        assert problem["code"] == "gpu_quota_exceeded"
        (error,) = problem["errors"]
        assert (error["document"], error["line"]) == (2, 6)
        assert f"asks for {asked} GPU" in error["reason"]
        assert f"gpu_quota is {gpu_quota}" in error["reason"]
    assert await count_rows(cast.instance, "config_files") == (status == 201)


@pytest.mark.conformance("F-12")
async def test_replicas_that_wait_for_their_turn_are_no_reason_to_refuse(cast: Cast) -> None:
    limits = "{limits: {nvidia.com/gpu: 1}}"
    job = (
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: sweep}\nspec: {parallelism: 10, template: "
        f"{{spec: {{containers: [{{name: main, image: cuda, resources: {limits}}}]}}}}}}\n"
    )
    await create(cast, job)


@pytest.mark.conformance("F-13")
async def test_privileges_are_refused_unless_the_project_allows_them(cast: Cast) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: agent}\nspec: {hostNetwork: true, containers: []}\n"
    body = {"filename": "agent.yaml", "content": pod}
    refused = await cast.manager.post(f"/projects/{cast.p_id}/config-files", json=body)
    assert refused.status_code == 422
    await cast.super_admin.patch(f"/projects/{cast.p_id}", json={"allow_privileged": True})
    assert (await cast.manager.post(f"/projects/{cast.p_id}/config-files", json=body)).status_code == 201


@pytest.mark.conformance("F-04")
async def test_an_update_keeps_the_ids_of_what_stays(cast: Cast) -> None:
    before = await create(cast, documents(WEB, SERVICE, SETTINGS))
    changed_web = WEB.replace("replicas: 2", "replicas: 3")
    answer = await replace(cast, before, documents(gpu_pod("new", 1), SERVICE, changed_web))
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert (await cast.user.get(f"/config-files/{before['cf_id']}")).json() == after
    old, new = ids_by_name(before), ids_by_name(after)
    assert sorted(new) == ["deployment/web", "pod/new", "service/web"]
    assert new["deployment/web"] == old["deployment/web"]
    versions = {resource["name"]: resource["updated_at"] for resource in before["resources"]}
    by_name = {resource["name"]: resource for resource in after["resources"]}
    assert by_name["service/web"] in before["resources"]
    assert by_name["deployment/web"]["updated_at"] > versions["deployment/web"]
    deployment = await cast.user.get(f"/config-files/{after['cf_id']}/resources/{new['deployment/web']}")
    assert deployment.json()["parsed_yaml"]["spec"]["replicas"] == 3
    assert after["updated_at"] > before["updated_at"]


@pytest.mark.conformance("F-04")
async def test_what_an_update_removes_is_one_deletion_of_its_own(cast: Cast) -> None:
    before = await create(cast, documents(WEB, SERVICE, SETTINGS))
    await replace(cast, before, SERVICE)
    async with cast.database.read() as tx:
        ((deletion_id, counts, root),) = await tx.fetch_text(
            "SELECT id, planned_counts, root_id FROM deletions"
            " WHERE root_type = 'config-file-update' AND state = 'deleted'"
        )
    assert (counts, root) == ('{"resources":2}', before["cf_id"])
    of_deletion = f"deletion_id = '{deletion_id}' AND deleted_at IS NOT NULL"
    assert await count_rows(cast.instance, "resources", of_deletion) == 2
    old = ids_by_name(before)
    gone = await cast.user.get(f"/config-files/{before['cf_id']}/resources/{old['deployment/web']}")
    assert gone.status_code == 404


@pytest.mark.conformance("F-04")
async def test_a_resource_that_comes_back_is_a_new_one(cast: Cast) -> None:
    before = await create(cast, documents(SERVICE, SETTINGS))
    await replace(cast, before, SERVICE)
    after = (await replace(cast, before, documents(SERVICE, SETTINGS))).json()
    await replace(cast, before, SERVICE)
    last = (await replace(cast, before, documents(SERVICE, SETTINGS))).json()
    names = [ids_by_name(file)["configmap/settings"] for file in (before, after, last)]
    assert len(set(names)) == 3
    assert ids_by_name(before)["service/web"] == ids_by_name(last)["service/web"]


@pytest.mark.conformance("F-04")
async def test_comments_and_order_change_the_file_and_no_resource(cast: Cast) -> None:
    before = await create(cast, documents(WEB, SERVICE))
    after = (await replace(cast, before, "# new\n" + documents(SERVICE, WEB))).json()
    assert after["resources"] == before["resources"]
    assert after["updated_at"] > before["updated_at"]
    assert len(await audit_entries(cast.instance, "resource")) == 2


async def test_the_same_content_again_changes_nothing(cast: Cast) -> None:
    before = await create(cast, documents(WEB, SERVICE))
    answer = await replace(cast, before, documents(WEB, SERVICE))
    assert answer.json() == before
    assert len(await audit_entries(cast.instance, "config-file")) == 1


async def test_a_put_may_rename_as_well(cast: Cast) -> None:
    before = await create(cast, SERVICE)
    body = {"content": SETTINGS, "filename": "settings.yaml"}
    after = (await cast.manager.put(f"/config-files/{before['cf_id']}", json=body)).json()
    assert after["filename"] == "settings.yaml"
    assert sorted(ids_by_name(after)) == ["configmap/settings"]


async def test_a_renamed_file_keeps_its_resources(cast: Cast) -> None:
    before = await create(cast, documents(WEB, SERVICE))
    after = await cast.manager.patch(f"/config-files/{before['cf_id']}", json={"filename": "shop.yaml"})
    assert after.json() == {**before, "filename": "shop.yaml", "updated_at": after.json()["updated_at"]}
    assert after.json()["updated_at"] > before["updated_at"]
    entries = await audit_entries(cast.instance, "config-file")
    assert entries[-1] == ("update", "shop.yaml", '{"filename":"web.yaml"}', '{"filename":"shop.yaml"}')


async def test_a_stale_version_is_refused(cast: Cast) -> None:
    file = await create(cast, SERVICE)
    etag = (await cast.user.get(f"/config-files/{file['cf_id']}")).headers["ETag"]
    first = await replace(cast, file, SETTINGS, **{"If-Match": etag})
    assert first.status_code == 200
    assert (await replace(cast, file, WEB, **{"If-Match": etag})).status_code == 412
    renamed = await cast.manager.patch(
        f"/config-files/{file['cf_id']}", json={"filename": "x.yaml"}, headers={"If-Match": etag}
    )
    assert renamed.status_code == 412
    assert (await cast.user.get(f"/config-files/{file['cf_id']}")).json() == first.json()


@pytest.mark.conformance("X-04")
async def test_updates_at_once_leave_the_resources_of_one_of_them(cast: Cast) -> None:
    file = await create(cast, documents(WEB, SERVICE))
    texts = [documents(SERVICE, *(SETTINGS.replace("settings", f"s{n}") for n in range(count))) for count in range(6)]
    answers = await asyncio.gather(*(replace(cast, file, text) for text in texts))
    assert {answer.status_code for answer in answers} == {200}
    last = (await cast.user.get(f"/config-files/{file['cf_id']}")).json()
    assert len(last["resources"]) == texts.index(last["content"]) + 1
    assert ids_by_name(last)["service/web"] == ids_by_name(file)["service/web"]


async def test_the_audit_log_names_each_resource_and_value(cast: Cast) -> None:
    file = await create(cast, documents(WEB, SETTINGS))
    changed = WEB.replace("replicas: 2", "replicas: 3").replace("old-secret", "new-secret")
    await replace(cast, file, documents(changed, SERVICE))
    resources = await audit_entries(cast.instance, "resource")
    assert [entry[:2] for entry in resources] == [
        ("create", "deployment/web"),
        ("create", "configmap/settings"),
        ("create", "service/web"),
        ("update", "deployment/web"),
        ("delete", "configmap/settings"),
    ]
    password = "spec.template.spec.containers[web].env[DB_PASSWORD].value"
    assert resources[3][2:] == (
        f'{{"spec.replicas":2,"{password}":"***"}}',
        f'{{"spec.replicas":3,"{password}":"***"}}',
    )
    everything = " ".join(f"{old} {new}" for _, _, old, new in await audit_entries(cast.instance, "config-file"))
    assert "secret" not in everything
    async with cast.database.read() as tx:
        rows = await tx.fetch_text("SELECT description FROM audit_logs WHERE resource_type = 'config-file' ORDER BY id")
    assert rows == [
        ("holds deployment/web, configmap/settings",),
        ("added service/web; changed deployment/web; removed configmap/settings",),
    ]


async def test_resources_are_found_by_type_and_text(cast: Cast) -> None:
    file = await create(cast, documents(WEB, SERVICE, SETTINGS))

    async def names(**parameters: str) -> list[str]:
        answer = (await cast.user.get(f"/config-files/{file['cf_id']}/resources", params=parameters)).json()
        assert answer["total"] == len(answer["items"])
        return [resource["name"] for resource in answer["items"]]

    assert await names() == ["configmap/settings", "deployment/web", "service/web"]
    assert await names(sort="-name", q="WEB") == ["service/web", "deployment/web"]
    assert await names(type="configmap") == ["configmap/settings"]
    assert await names(type="configmap", q="web") == []


async def test_an_unchanged_resource_is_not_sent_again(cast: Cast) -> None:
    file = await create(cast, SERVICE)
    (r_id,) = ids_by_name(file).values()
    path = f"/config-files/{file['cf_id']}/resources/{r_id}"
    first = await cast.user.get(path)
    assert first.json()["parsed_yaml"]["spec"] == {"ports": [{"port": 80}]}
    again = await cast.user.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_repeated_post_with_one_key_stores_one_file(cast: Cast) -> None:
    path, headers = f"/projects/{cast.p_id}/config-files", {"Idempotency-Key": "k"}
    body = {"filename": "web.yaml", "content": SERVICE}
    first = await cast.manager.post(path, json=body, headers=headers)
    again = await cast.manager.post(path, json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert await count_rows(cast.instance, "config_files") == 1


async def test_a_token_that_may_only_write_stores_and_replaces(cast: Cast) -> None:
    async with cast.database.read() as tx:
        ((user_id,),) = await tx.fetch_text("SELECT u_id FROM users WHERE username = 'the-manager'")
    token = await make_token(cast.database, user_id, kind="api", scopes="config-files:write")
    client = cast.instance.client(token)
    body = {"filename": "web.yaml", "content": SERVICE}
    stored = await client.post(f"/projects/{cast.p_id}/config-files", json=body)
    assert stored.status_code == 201
    path = f"/config-files/{stored.json()['cf_id']}"
    assert (await client.put(path, json={"content": SETTINGS})).status_code == 200
    assert (await client.get(path)).status_code == 403


@pytest.mark.conformance("F-01", "F-02", "F-03", "X-04")
async def test_every_example_is_stored_whole_or_refused_with_its_place(cast: Cast) -> None:
    await cast.super_admin.patch(f"/projects/{cast.p_id}", json={"gpu_quota": 64})
    gate = asyncio.Semaphore(8)

    async def store(filename: str, content: str) -> None:
        async with gate:
            body = {"filename": filename, "content": content}
            answer = await cast.manager.post(f"/projects/{cast.p_id}/config-files", json=body)
        assert answer.status_code in {201, 422}, f"{filename}: {answer.text}"
        if answer.status_code == 201:
            stored[filename] = answer.json()["resources"]
        else:
            error = answer.json()["errors"][0]
            assert error["document"] >= 1 <= error["line"], filename
            assert error["reason"], filename

    stored: dict[str, Any] = {}
    await asyncio.gather(*(store(filename, content) for filename, content in read_examples().items()))
    project = (await cast.user.get(f"/projects/{cast.p_id}", params={"include": "config_files"})).json()
    found = {file["filename"]: file["resources"] for file in project["config_files"]}
    assert found == stored
    assert len(found) >= (6 if not REAL else 70)
