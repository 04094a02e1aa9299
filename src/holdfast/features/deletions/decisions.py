"""What the caller must decide about before a deletion, and what forbids it until somebody lifts that."""

from collections.abc import Iterable, Sequence

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.plan import Numbers, Root
from holdfast.db.tables import course_workloads, image_allow_list, user_group
from holdfast.db.tables.base import policy_of
from holdfast.features.deletions import queries
from holdfast.features.deletions.types import CountedItem, Decision, Item

# What `hand_over_to` settles; the rest goes along or the deletion is refused.
HANDED_OVER = frozenset({"enabled-rules", "last-admin"})


async def find_decisions(tx: Transaction, root: Root, numbers: Numbers) -> list[Decision]:
    """The decisions that a deletion of `root` with these numbers needs; what nothing asks about is not looked for."""
    found: list[Decision] = []
    if root.type == "user" and image_allow_list.name in numbers.asking:
        rules = await tx.fetch_all(queries.ENABLED_RULES, **root.parameters)
        found += _decision("enabled-rules", "image", rules, "{count} enabled {rule} of the allow list would go")
    if root.type in queries.LAST_ADMIN and user_group.name in numbers.asking:
        groups = await tx.fetch_all(queries.LAST_ADMIN[root.type], **root.parameters)
        found += _decision("last-admin", "group", groups, "{count} {group} would be left without an admin")
    for query in queries.RUNNING_WORKLOADS.get(root.type, ()) if course_workloads.name in numbers.asking else ():
        workloads = await tx.fetch_all(query, **root.parameters)
        found += _decision("running-workloads", "workload", workloads, "{count} {workload} pending or running would go")
    return found


async def find_protected(tx: Transaction, root: Root, numbers: Numbers) -> list[Item]:
    """The first protected things that would go."""
    found: list[Item] = []
    for table, query in queries.PROTECTED[root.type]:
        if table.name in numbers.protected:
            found += _items(policy_of(table).audited_as or table.name, await tx.fetch_all(query, **root.parameters))
    return found[: queries.MOST_NAMED]


def still_open(decisions: Iterable[Decision], *, take_along: bool, is_handed_over: bool) -> list[str]:
    """The kinds of decisions that the caller did not take."""
    if take_along:
        return []
    return [each.kind for each in decisions if not (is_handed_over and each.kind in HANDED_OVER)]


def _decision(kind: str, noun: str, found: Sequence[CountedItem], message: str) -> list[Decision]:
    if not found:
        return []
    count = found[0].total
    plural = "" if count == 1 else "s"
    words = {word: word + plural for word in ("rule", "group", "workload")}
    return [Decision(kind=kind, count=count, message=message.format(count=count, **words), items=_items(noun, found))]


def _items(noun: str, found: Iterable[CountedItem]) -> list[Item]:
    return [Item(type=noun, id=each.id, label=each.label) for each in found]
