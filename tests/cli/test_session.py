"""Signing in and out, and where tokens are kept and sent."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from tests.cli.commandline import CommandLine
from tests.factories import PASSWORD, make_group, make_member, make_token, make_user
from tests.instance import Instance


async def test_login_keeps_a_token_that_later_commands_use(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada")
    said = await anonymous.done("login", "ada", "--password-stdin", input=PASSWORD + "\n")
    assert said == f"Signed in to {instance.base_url} as ada.\n"
    assert (await anonymous.json("whoami"))["username"] == "ada"


async def test_the_credentials_file_is_readable_by_its_owner_alone(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada")
    await anonymous.done("login", "ada", "--password-stdin", input=PASSWORD + "\n")
    path = anonymous.home / "holdfast" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["servers"].keys() == {instance.base_url}


async def test_login_asks_for_what_it_was_not_told(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada")
    result = await anonymous.run("login", input=f"ada\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output


async def test_a_first_password_is_replaced_at_login(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada", must_change_password=True)
    new = "my own long password"
    answers = f"ada\n{PASSWORD}\nshort\nshort\n{new}\n{new}\n"
    result = await anonymous.run("login", input=answers)
    assert result.exit_code == 0, result.output
    assert "must be 8 to 128 characters long" in result.stderr
    assert (await anonymous.json("whoami"))["must_change_password"] is False
    await anonymous.done("login", "ada", "--password-stdin", input=new + "\n")


async def test_a_first_password_from_input_needs_a_second_line(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada", must_change_password=True)
    said = await anonymous.refused("login", "ada", "--password-stdin", input=PASSWORD + "\n")
    assert "--new-password-stdin" in said
    await anonymous.done(
        "login", "ada", "--password-stdin", "--new-password-stdin", input=f"{PASSWORD}\nanother password\n"
    )
    await anonymous.done("whoami")


async def test_a_new_password_that_is_too_short_is_not_sent(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada", must_change_password=True)
    said = await anonymous.refused(
        "login", "ada", "--password-stdin", "--new-password-stdin", input=f"{PASSWORD}\nshort\n"
    )
    assert said == "holdfast: the new password must be 8 to 128 characters long\n"
    assert not (anonymous.home / "holdfast").exists()


async def test_a_wrong_password_is_refused(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada")
    await anonymous.refused("login", "ada", "--password-stdin", input="not this one\n")
    assert not (anonymous.home / "holdfast").exists()


async def test_logout_ends_the_session_on_the_server(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada")
    await anonymous.done("login", "ada", "--password-stdin", input=PASSWORD + "\n")
    saved = json.loads((anonymous.home / "holdfast" / "credentials.json").read_text())
    token = saved["servers"][instance.base_url]["token"]
    await anonymous.done("logout")
    assert (await instance.client(token).get("/me")).status_code == 401
    await anonymous.refused("whoami", code=4)
    assert "not signed in" in await anonymous.done("logout")


async def test_without_a_token_the_exit_code_says_so(anonymous: CommandLine) -> None:
    said = await anonymous.refused("users", "list", code=4)
    assert said.startswith("holdfast: you are not signed in to http://")
    assert said.endswith(": holdfast login\n")


async def test_a_server_that_is_not_there_has_an_exit_code_of_its_own(anonymous: CommandLine) -> None:
    said = await anonymous.refused("whoami", "--url", "http://127.0.0.1:9", code=3)
    assert "http://127.0.0.1:9 does not answer" in said


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
async def test_a_server_that_is_not_holdfast_is_told_apart(tmp_path: Path, status: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await CommandLine(f"http://127.0.0.1:{port}", tmp_path).run("whoami")
    assert result.exit_code == 3
    assert "is --url right?" in result.stderr


@pytest.mark.parametrize("url", ["ftp://example.org", "http://", "http://host:99999", "http://[::1"])
async def test_an_address_that_is_none_is_wrong_usage(anonymous: CommandLine, url: str) -> None:
    assert "is no server address" in await anonymous.refused("whoami", "--url", url, code=2)


async def test_a_token_is_never_sent_to_another_server(anonymous: CommandLine, instance: Instance) -> None:
    await make_user(instance.database, "ada")
    await anonymous.done("login", "ada", "--password-stdin", input=PASSWORD + "\n")
    other_name_of_it = instance.base_url.replace("127.0.0.1", "localhost")
    await anonymous.refused("whoami", "--url", other_name_of_it, code=4)


async def test_whoami_names_the_groups_and_roles(anonymous: CommandLine, instance: Instance) -> None:
    u_id = await make_user(instance.database, "ada", full_name="Ada Lovelace")
    await make_member(instance.database, u_id, await make_group(instance.database, "physics"), "manager")
    anonymous.environment["HOLDFAST_CLI_TOKEN"] = await make_token(instance.database, u_id)
    said = await anonymous.done("whoami")
    assert "Ada Lovelace" in said
    assert "physics     manager" in said
