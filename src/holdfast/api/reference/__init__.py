"""/api/v1/docs: the API's description as a page, rendered by Swagger UI (Apache-2.0, vendored beside this file).

`index.html` and `start.js` are ours; nothing is fetched from elsewhere.
"""

from pathlib import Path
from typing import Annotated, Literal

from litestar import Response, get
from litestar.params import PathParameter

_FOLDER = Path(__file__).parent
_MEDIA_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@get("/docs", include_in_schema=False, sync_to_thread=False)
def read_reference() -> Response[bytes]:
    return _file("index.html")


@get("/docs/{name:str}", include_in_schema=False, sync_to_thread=False)
def read_reference_file(
    name: Annotated[Literal["swagger-ui-bundle.js", "swagger-ui.css", "start.js"], PathParameter()],
) -> Response[bytes]:
    return _file(name)


def _file(name: str) -> Response[bytes]:
    path = _FOLDER / name
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "public, max-age=3600"}
    return Response(path.read_bytes(), media_type=_MEDIA_TYPES[path.suffix], headers=headers)


handlers = [read_reference, read_reference_file]
