"""`holdfast serve` on asyncio's own loop instead of uvloop, for `bench.choices`. `python -m bench.on_asyncio`."""

from typing import Any

import uvicorn

from holdfast.cli.serve import serve


class OwnLoop(uvicorn.Config):
    """The library's configuration, with the loop of the standard library whatever was asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **(options | {"loop": "asyncio"}))


def main() -> None:
    """Serve as the product does, but for the loop."""
    uvicorn.Config = OwnLoop  # type: ignore[misc]
    serve()


if __name__ == "__main__":
    main()
