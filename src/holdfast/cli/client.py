"""HTTP to a Holdfast server: requests below /api/v1, its problem documents as sentences, its lists page by page."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from holdfast import __version__
from holdfast.cli.credentials import Access
from holdfast.cli.failures import CommandFailedError, ExitCode

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 300  # An import of thousands of people is one request.
DELETION_SECONDS = 3600  # So is a deletion of millions of rows, or their restore.
_LARGEST_PAGE = 100


class Client:
    """A connection to one server, with the caller's token."""

    def __init__(self, access: Access) -> None:
        self.url = access.url
        headers = {"User-Agent": f"holdfast-cli/{__version__}", "Accept": "application/json"}
        base_url = access.url + "/api/v1/"
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=_timeout(_ANSWER_SECONDS))
        self.use_token(access.token)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def use_token(self, token: str | None) -> None:
        """Speak with another token from now on, or with none."""
        self._http.headers.pop("Authorization", None)
        if token:
            self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **parameters: Any) -> Any:
        """Read; parameters that are None are left out."""
        return self._send("GET", path, params=_query_of(parameters))

    def find(self, path: str) -> Any:
        """Read, or None where the server knows no such thing or will not show it."""
        try:
            return self.get(path)
        except CommandFailedError as failure:
            if failure.code.endswith("not_found") or failure.code == "invalid_input":
                return None
            raise

    def post(self, path: str, body: Any = None, *, answer_seconds: float = _ANSWER_SECONDS) -> Any:
        """Make something, or do something to what is named."""
        return self._send("POST", path, json=body, timeout=_timeout(answer_seconds))

    def put(self, path: str, body: Any) -> Any:
        """Replace."""
        return self._send("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """Change the fields that are given."""
        return self._send("PATCH", path, json=body)

    def delete(self, path: str, **parameters: Any) -> Any:
        """Delete; end a session, revoke a token. Parameters that are None are left out."""
        return self._send("DELETE", path, params=_query_of(parameters), timeout=_timeout(DELETION_SECONDS))

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All pages of a list, one after the other, by its cursors, and without their total."""
        parameters = {"limit": _LARGEST_PAGE, "total": "none"} | parameters
        page = self.get(path, **parameters)
        yield page
        while page.get("next"):
            page = self.get(path, **parameters | {"page": None, "cursor": page["next"]})
            yield page

    def rows(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All rows of a list."""
        for page in self.pages(path, **parameters):
            yield from page["items"]

    def _send(self, method: str, path: str, **content: Any) -> Any:
        try:
            response = self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise CommandFailedError(
                f"{self.url} does not answer ({reason}); is the server running, is --url right?",
                ExitCode.UNAVAILABLE,
            ) from error
        if response.is_success:
            return self._content(response)
        raise _failure(self.url, response)

    def _content(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise CommandFailedError(
                f"{self.url} answers, but not as a Holdfast server does; is --url right?", ExitCode.UNAVAILABLE
            ) from error


def _timeout(answer_seconds: float) -> httpx.Timeout:
    return httpx.Timeout(answer_seconds, connect=_CONNECT_SECONDS)


def path_of(*parts: str) -> str:
    """A path whose parts are quoted, so that a name with a slash stays one part."""
    return "/".join(quote(part, safe="") for part in parts)


def _query_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: _query_text(value) for name, value in parameters.items() if value is not None}


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _failure(url: str, response: httpx.Response) -> CommandFailedError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "code" not in problem:
        # Not our server, or a proxy in front of it: nothing here says that the request was wrong.
        return CommandFailedError(
            f"{url} answered {response.status_code}, but not as a Holdfast server does; is --url right?",
            ExitCode.UNAVAILABLE,
        )
    message = str(problem.get("detail") or problem.get("title") or response.status_code)
    if response.status_code >= 500:
        message += f" (request {problem.get('request_id')})"
        return CommandFailedError(message, ExitCode.UNAVAILABLE, code=problem["code"])
    if response.status_code == httpx.codes.UNAUTHORIZED and problem["code"] == "not_signed_in":
        if "Authorization" not in response.request.headers:
            message = f"you are not signed in to {url}"
        return CommandFailedError(f"{message}: holdfast login", ExitCode.NOT_SIGNED_IN, code=problem["code"])
    if problem["code"] == "password_change_required":
        message = "choose a new password first: holdfast login"
    message, lines = _told_once(message, _error_lines(problem))
    return CommandFailedError(message, ExitCode.REFUSED, lines=lines, code=problem["code"])


def _error_lines(problem: Mapping[str, Any]) -> list[str]:
    """The errors of a problem document, a line each: `line 3, username: must be …`; and what stands against an act."""
    errors, conflicts = (problem.get(name) for name in ("errors", "conflicts"))
    lines = [error_line(error) for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    if isinstance(conflicts, list):
        lines += [str(conflict.get("message") or conflict) for conflict in conflicts if isinstance(conflict, dict)]
    return lines


def _told_once(message: str, lines: list[str]) -> tuple[str, list[str]]:
    """The sentence and the lines below it, where the server names the errors in its sentence as well."""
    named = [message.find(line) for line in lines if line in message]
    if not named:
        return message, lines
    if len(lines) == 1:
        return message, []
    return message[: min(named)].rstrip(" :;") or message, lines


def error_line(error: Mapping[str, Any]) -> str:
    """One error: where it is, and why."""
    places = [f"{word} {error[word]}" for word in ("document", "line") if error.get(word) is not None]
    if error.get("field"):
        places.append(str(error["field"]))
    path = f"{error['path']}: " if error.get("path") else ""
    reason = path + str(error.get("reason") or error)
    return f"{', '.join(places)}: {reason}" if places else reason
