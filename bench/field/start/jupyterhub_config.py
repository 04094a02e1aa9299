"""JupyterHub's settings: the hub alone, with nobody's servers to reach and so no proxy to tell.

It takes its place from the environment: BENCH_PORT, BENCH_FOLDER and BENCH_TOKEN.
"""

import os

from jupyterhub.proxy import Proxy  # type: ignore[import-not-found]


class NoProxy(Proxy):  # type: ignore[misc]
    """Remembers the routes that it is told."""

    should_start = False

    async def add_route(self, routespec, target, data):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Remember a route."""
        _routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Forget a route."""
        _routes.pop(routespec, None)

    async def get_all_routes(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """The routes by their names."""
        return _routes


_routes: dict[str, object] = {}
_port, _folder = int(os.environ["BENCH_PORT"]), os.environ["BENCH_FOLDER"]

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - the hub gives it to the file
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = _port
c.JupyterHub.bind_url = "http://127.0.0.1:1"
c.JupyterHub.db_url = f"sqlite:///{_folder}/hub.db"
c.JupyterHub.cookie_secret_file = f"{_folder}/cookie-secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"admin"}
c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["BENCH_TOKEN"]}]
c.JupyterHub.load_roles = [{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "tokens"]}]
