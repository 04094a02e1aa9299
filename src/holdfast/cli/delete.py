"""`holdfast delete`: look at what would go, agree, and delete it as one."""

from typing import Annotated, Any

import typer

from holdfast.cli import terminal
from holdfast.cli.connected import Server, connected
from holdfast.cli.deletion_plans import counted, print_plan, protected_lines, row_count
from holdfast.cli.deletion_roots import Root, RootType, find_root
from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.cli.names import find_user

# From here on a yes is too quickly said: the name must be typed.
_MANY_ROWS = 10


@connected
def delete(
    server: Server,
    type_: Annotated[RootType, typer.Argument(metavar="TYPE", help="What it is, as in the list above.")],
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id, or its name as in the list above.")],
    *,
    plan_only: Annotated[bool, typer.Option("--plan", help="Show what would go, and delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    take_along: Annotated[
        bool, typer.Option("--take-along", help="Let go along what the plan asks a decision about.")
    ] = False,
    hand_over_to: Annotated[
        str | None,
        typer.Option(
            "--hand-over-to",
            metavar="USER",
            help="Of a user: give the allow-list rules, open forms and admin seats to this one.",
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")] = None,
) -> None:
    """Delete something with all that hangs on it, as one deletion that can be restored as one.

    TYPE is user, group or project (by name or id), member (GROUP/USER), config-file (PROJECT/FILENAME or id),
    repository, tag (REPOSITORY:TAG), form-message (FORM/MESSAGE), or form, image-request, image or workload (by id).

    Shows the plan and asks first. Nothing is removed for good before a purge.

    Example: holdfast delete group "Machine Learning" --plan
    """
    if server.as_json and not (yes or plan_only):
        raise CommandFailedError("with --json nobody is asked: add --yes, or --plan", ExitCode.WRONG_USAGE)
    root = find_root(server.client, type_, name)
    heir = None if hand_over_to is None else find_user(server.client, hand_over_to)
    wish = {"take_along": take_along or None, "hand_over_to": heir, "reason": reason}
    while True:
        plan = _plan(server, root)
        if not server.as_json:
            print_plan(plan)
        elif plan_only:
            terminal.print_json(plan)
        if plan_only:
            return
        _refuse(plan, wish)
        if not yes:
            _ask(plan)
        deleted = _delete(server, root, plan, wish, may_look_again=not yes)
        if deleted is not None:
            break
    server.tell(deleted, _told(deleted))


def _plan(server: Server, root: Root) -> dict[str, Any]:
    plan: dict[str, Any] = server.client.post("deletion-plans", {"type": root.type, "id": root.id})
    return plan


def _refuse(plan: dict[str, Any], wish: dict[str, Any]) -> None:
    """End here what the server would refuse, before anybody is asked."""
    if plan["protected"]:
        raise CommandFailedError(
            "nothing was deleted: some of it is protected", lines=protected_lines(plan), code="deletion_protected"
        )
    if plan["decisions"] and not (wish["take_along"] or wish["hand_over_to"]):
        can_be_given = plan["root"]["type"] == RootType.USER
        raise CommandFailedError(
            f"nothing was deleted: {' and '.join(each['kind'] for each in plan['decisions'])} must be decided;"
            f" --take-along lets them go with it{', --hand-over-to USER gives them away' if can_be_given else ''}",
            code="decision_needed",
        )


def _ask(plan: dict[str, Any]) -> None:
    label = plan["root"]["label"]
    if row_count(plan["counts"]) < _MANY_ROWS:
        typer.confirm("\nDelete it?", abort=True, err=True)
        return
    typed = typer.prompt("\nType its name to delete it", default="", show_default=False, err=True)
    if typed != label:
        raise CommandFailedError(f"nothing was deleted: its name is {label!r}")


def _delete(
    server: Server, root: Root, plan: dict[str, Any], wish: dict[str, Any], *, may_look_again: bool
) -> dict[str, Any] | None:
    """What was deleted; None where the numbers moved since the plan and somebody can look at the new ones."""
    try:
        deleted: dict[str, Any] = server.client.delete(root.path, plan=plan["token"], **wish)
    except CommandFailedError as failure:
        if failure.code == "plan_changed" and may_look_again:
            terminal.print_note("\nMeanwhile something changed beneath it; nothing was deleted. It is now:\n")
            return None
        raise
    return deleted


def _told(deleted: dict[str, Any]) -> str:
    return (
        f"Deleted {counted(row_count(deleted['counts']))}. To bring them back:"
        f" holdfast deletions restore {deleted['deletion_id']}"
    )
