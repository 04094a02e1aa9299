"""The forms of fields that many requests share. What a column cannot hold is refused here, with the field's name."""

from typing import Annotated

import msgspec
from litestar.params import PathParameter, QueryParameter

# No NUL anywhere: PostgreSQL's text cannot hold it.
_PRINTABLE = r"^[^\x00]*$"
# At least one visible character, no line breaks or other control characters. In Python `$` alone would let a last line
# break pass.
_ONE_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$(?!\n)"
_ID = r"^[A-Za-z0-9_-]+$"

ShortId = Annotated[str, msgspec.Meta(pattern=_ID, max_length=20)]
LongId = Annotated[str, msgspec.Meta(pattern=_ID, max_length=21)]
Name100 = Annotated[str, msgspec.Meta(pattern=_ONE_LINE, min_length=1, max_length=100)]
Name255 = Annotated[str, msgspec.Meta(pattern=_ONE_LINE, min_length=1, max_length=255)]
Description = Annotated[str, msgspec.Meta(pattern=_PRINTABLE, max_length=10_000)]
MessageText = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*[^\x00-\x20][^\x00]*$", min_length=1, max_length=20_000)]
Note = Annotated[str, msgspec.Meta(pattern=_PRINTABLE, max_length=5_000)]

SearchText = Annotated[
    str | None,
    QueryParameter(description="Only rows that contain this text.", max_length=200, pattern=_PRINTABLE, required=False),
]

FilterText = Annotated[str | None, QueryParameter(max_length=255, pattern=_PRINTABLE, required=False)]
FilterId = Annotated[str | None, QueryParameter(max_length=21, pattern=_ID, required=False)]
PathId = Annotated[str, PathParameter(max_length=21, pattern=_ID)]
