"""What every command that speaks to a server shares: `--url` and `--json`, and for lists how much of it to show."""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from types import TracebackType
from typing import Annotated, Any, Concatenate, ParamSpec

import msgspec
import typer

from holdfast.cli import terminal
from holdfast.cli.client import Client
from holdfast.cli.credentials import URL_VARIABLE, find_access

Parameters = ParamSpec("Parameters")
Command = Callable[..., None]
Row = dict[str, Any]

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"The server, if not the one you signed in to last. Also {URL_VARIABLE}.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the server's JSON instead of a table.")]
_PageNumber = Annotated[int, typer.Option("--page", min=1, help="Which page of the list to show.")]
_Limit = Annotated[int, typer.Option("--limit", min=1, max=100, help="Rows a page.")]
_Sort = Annotated[
    str | None,
    typer.Option("--sort", metavar="FIELD", help="Sort by a field; -FIELD downwards, as in --sort=-created_at."),
]
_NoTotal = Annotated[bool, typer.Option("--no-total", help="Do not count all rows: a long list comes sooner.")]
_All = Annotated[bool, typer.Option("--all", help="Show every row, however many pages there are.")]


class Server:
    """The server a command speaks to, and the form in which its answers are shown."""

    def __init__(self, client: Client, *, as_json: bool) -> None:
        self.client = client
        self.as_json = as_json

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(kind, error, trace)

    def show(self, record: dict[str, Any], fields: Sequence[str]) -> None:
        """One object."""
        if self.as_json:
            terminal.print_json(record)
        else:
            terminal.print_record(record, fields)

    def tell(self, answer: Any, sentence: str) -> None:
        """What was done: the server's answer for programs, a sentence for people."""
        if self.as_json:
            terminal.print_json(answer)
        else:
            terminal.print_sentence(sentence)


class Paging(msgspec.Struct, frozen=True):
    """How much of a list to show."""

    page: int
    limit: int
    sort: str | None
    everything: bool
    no_total: bool

    def show(
        self,
        server: Server,
        path: str,
        columns: Sequence[str],
        *,
        spare: Sequence[str] = (),
        for_people: Callable[[Row], Row] = dict,
        **filters: Any,
    ) -> None:
        """Fetch the list and print it; a remark on standard error says where the rest is.

        The table has what `for_people` makes of each row, the JSON has the rows as they are.
        """
        answer = self._fetch(server, path, filters)
        if server.as_json:
            terminal.print_json(answer)
            return
        terminal.print_table([for_people(row) for row in answer["items"]], columns, spare)
        shown, total = len(answer["items"]), answer["total"]
        is_part = bool(answer["next"]) or self.page > 1 if total is None else shown < total
        if is_part:
            rows = f"{shown} rows" if total is None else f"{shown} of {total} rows"
            more = f"--page {self.page + 1} shows more, " if answer.get("next") else ""
            terminal.print_note(f"{rows}, page {answer['page']}; {more}--all shows everything.")

    def _fetch(self, server: Server, path: str, filters: dict[str, Any]) -> dict[str, Any]:
        if not self.everything:
            total = "none" if self.no_total else None
            page: dict[str, Any] = server.client.get(
                path, page=self.page, limit=self.limit, sort=self.sort, total=total, **filters
            )
            return page
        items = list(server.client.rows(path, sort=self.sort, **filters))
        return {"items": items, "total": len(items), "page": 1, "limit": len(items), "next": None}


def connected(function: Callable[Concatenate[Server, Parameters], None]) -> Command:
    """Make a command of a function whose first parameter is the server; adds `--url` and `--json`."""

    @wraps(function)
    def run(*args: Parameters.args, **options: Parameters.kwargs) -> None:
        url, as_json = options.pop("url"), options.pop("as_json")
        assert url is None or isinstance(url, str)
        with Server(Client(find_access(url)), as_json=bool(as_json)) as server:
            function(server, *args, **options)

    return _with_options(function, run, 1, url=(UrlOption, None), as_json=(JsonOption, False))


def listing(function: Callable[Concatenate[Server, Paging, Parameters], None]) -> Command:
    """As `connected`, for a list: the second parameter says how much to show; adds `--page`, `--limit` and the rest."""

    @wraps(function)
    def run(*args: Parameters.args, **options: Parameters.kwargs) -> None:
        chosen: dict[str, Any] = {
            name: options.pop(name) for name in ("page", "limit", "sort", "everything", "no_total")
        }
        url, as_json = options.pop("url"), options.pop("as_json")
        assert url is None or isinstance(url, str)
        with Server(Client(find_access(url)), as_json=bool(as_json)) as server:
            function(server, Paging(**chosen), *args, **options)

    return _with_options(
        function,
        run,
        2,
        page=(_PageNumber, 1),
        limit=(_Limit, 20),
        sort=(_Sort, None),
        everything=(_All, False),
        no_total=(_NoTotal, False),
        url=(UrlOption, None),
        as_json=(JsonOption, False),
    )


def _with_options(function: Command, run: Command, given: int, **added: tuple[Any, Any]) -> Command:
    """`run` with the signature that the command line is made from: that of `function`, less what it is given here."""
    signature = inspect.signature(function)
    own = list(signature.parameters.values())[given:]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in added.items()
    ]
    run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return run
