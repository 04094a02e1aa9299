"""A dump's views and procedures without the name of the account that made them, which the new server may not know."""

import re

from holdfast.operations.backup.streams import Sink

# mariadb-dump writes each at the start of a line. A line break inside a value is written as \n, so no row can look like
# one of these.
_STARTS = (b"/*!50013 DEFINER=", b"/*!50020 DEFINER=", b"/*!50003 CREATE*/ /*!50017 DEFINER=", b"CREATE DEFINER=")
_LONGEST_START = max(map(len, _STARTS))
_ACCOUNT = rb"(?:`(?:[^`]|``)*`|[^`@\s*]+)"
_DEFINER = re.compile(
    rb"^(/\*!500(?:13|20) |/\*!50003 CREATE\*/ /\*!50017 |CREATE )DEFINER=" + _ACCOUNT + rb"@" + _ACCOUNT + rb" ?",
    re.MULTILINE,
)


class WithoutDefiners:
    """Passes SQL text on to a sink. `finish` gives the last line."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = b""
        # Whether what comes next goes on with a line that is passed on already.
        self._inside = False

    def write(self, data: bytes) -> int:
        """As of a file."""
        text = self._held + data
        self._held = b""
        if self._inside:
            end = text.find(b"\n") + 1
            if not end:
                self._sink.write(text)
                return len(data)
            self._sink.write(text[:end])
            text = text[end:]
            self._inside = False
        end = text.rfind(b"\n") + 1
        whole, rest = text[:end], text[end:]
        if whole:
            self._sink.write(_DEFINER.sub(rb"\1", whole))
        if len(rest) >= _LONGEST_START and not rest.startswith(_STARTS):
            self._sink.write(rest)
            self._inside = True
        else:
            self._held = rest
        return len(data)

    def finish(self) -> None:
        """Pass on a last line that has no end."""
        if self._held:
            self._sink.write(_DEFINER.sub(rb"\1", self._held))
            self._held = b""
