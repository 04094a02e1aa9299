"""Deletion plans: the numbers of a deletion for people, with a token that is good while they stay.

The token is a signature of the plan's numbers with the service's secret; nothing is stored. Who sends it has seen these
very numbers.
"""

import base64
import hashlib
import hmac
from typing import Any

import msgspec

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.graph import GRAPH, Edge
from holdfast.db.lifecycle.plan import Numbers, Root
from holdfast.db.tables.base import policy_of
from holdfast.features.deletions.decisions import find_decisions, find_protected
from holdfast.features.deletions.types import Decision, DeletionPlan, Item, PlanNode, RootAccess

_SIGNATURE_BYTES = 24


async def make_plan(tx: Transaction, root: Root, found: RootAccess, numbers: Numbers, plan_key: bytes) -> DeletionPlan:
    """The plan of a deletion of `root`, of which `found` tells the name, with its numbers as just counted."""
    decisions = await find_decisions(tx, root, numbers)
    return DeletionPlan(
        token=_token(root, numbers, decisions, plan_key),
        root=Item(type=root.type, id=root.id_text, label=found.label),
        counts=numbers.counts,
        set_null=numbers.set_null,
        already_deleted=numbers.already_deleted,
        at_purge=numbers.at_purge,
        decisions=decisions,
        protected=await find_protected(tx, root, numbers),
        tree=PlanNode(root.type, found.label, 1, _Tree(numbers.by_edge).beneath(root.table)),
    )


def is_token_of(plan: DeletionPlan, token: str) -> bool:
    """Whether a token was given out with a plan of these numbers."""
    return hmac.compare_digest(plan.token.encode(), token.encode())


class _Tree:
    """Builds the nodes: each foreign key with rows stands once, beneath the first that leads to its parent's table."""

    def __init__(self, by_edge: dict[str, int]) -> None:
        self._by_edge = by_edge
        self._opened: set[str] = set()

    def beneath(self, parent: Any) -> list[PlanNode]:
        if parent.name in self._opened:
            return []
        self._opened.add(parent.name)
        edges = [edge for edge in GRAPH.cascades_from(parent) if edge.name in self._by_edge]
        return [self._node(edge) for edge in edges]

    def _node(self, edge: Edge) -> PlanNode:
        return PlanNode(
            type=policy_of(edge.child).audited_as or edge.child.name,
            label=_LABELS.get(edge.name) or _PLURALS.get(edge.child.name) or edge.child.name.replace("_", " "),
            count=self._by_edge[edge.name],
            children=self.beneath(edge.child),
        )


_PLURALS = {
    "cluster_image_status": "records of pulls",
    "config_files": "config files",
    "container_tags": "tags",
    "course_workloads": "workloads",
    "form_messages": "messages",
    "forms": "forms",
    "image_allow_list": "allow-list rules",
    "image_requests": "image requests",
    "project_list": "projects",
    "resources": "resources",
    "tokens": "sessions and API tokens",
    "user_group": "memberships",
}
# What a foreign key means where the plural alone does not tell.
_LABELS = {
    "form_messages.user_id": "messages on other people's forms",
    "image_allow_list.created_by": "allow-list rules made by the user",
    "image_allow_list.repository_id": "allow-list rules for every tag",
}


def _token(root: Root, numbers: Numbers, decisions: list[Decision], plan_key: bytes) -> str:
    said = [
        _SCHEMA,
        root.type,
        root.key,
        sorted(numbers.counts.items()),
        sorted(numbers.set_null.items()),
        sorted(numbers.already_deleted.items()),
        [(each.kind, each.count) for each in decisions],
    ]
    digest = hmac.digest(plan_key, b"holdfast plan\n" + msgspec.json.encode(said), "sha256")
    return base64.urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).decode()


# Another schema may count other things under the same names.
_SCHEMA = hashlib.sha256(repr(GRAPH.edges).encode()).hexdigest()
