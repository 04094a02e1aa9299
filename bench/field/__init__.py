"""P9: the servers that the field uses, each doing the same as Holdfast, on SQLite, compared by CPU time per request.

Each server is installed as its makers publish it, at pinned versions, in a virtual environment of its own under
build/field (`python -m bench.field install`); none of it comes near the product's. `start/` holds what runs there.
"""

from bench.field import coldfront, dstack, jupyterhub, keystone
from bench.field.server import FieldServer

FIELD: tuple[FieldServer, ...] = (
    FieldServer("jupyterhub", "JupyterHub", jupyterhub.serve),
    FieldServer("keystone", "Keystone", keystone.serve),
    FieldServer("dstack", "dstack", dstack.serve),
    FieldServer("coldfront", "ColdFront", coldfront.serve, deletes_groups=False),
)
