"""A deletion's plan as people read it: a tree of what goes, and what is to be known or decided before."""

from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.cli import terminal

Plan = Mapping[str, Any]


def print_plan(plan: Plan) -> None:
    """The whole plan on standard output."""
    for line in _lines(plan):
        terminal.print_sentence(line)


def row_count(counts: Mapping[str, int]) -> int:
    """How many rows the counts of a plan or a deletion are."""
    return sum(counts.values())


def counted(number: int, noun: str = "row") -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def protected_lines(plan: Plan) -> list[str]:
    """What refuses to go, a line each."""
    return [f"{item['type']} {item['label']}  {item['id']}" for item in plan["protected"]]


def _lines(plan: Plan) -> Iterator[str]:
    tree = plan["tree"]
    yield f"{tree['type']} {tree['label']}"
    yield from _branches(tree["children"], "")
    total = row_count(plan["counts"])
    yield ""
    if total == 1:
        yield "Nothing else goes with it."
    else:
        yield f"{counted(total)} would go together, and come back together."
    yield from _remarks(plan)
    for decision in plan["decisions"]:
        yield ""
        yield from _decision(decision)
    if plan["protected"]:
        yield ""
        yield "Protected, so that nothing goes while they are:"
        yield from (f"  {line}" for line in protected_lines(plan))


def _branches(nodes: list[Plan], indent: str) -> Iterator[str]:
    for node in nodes:
        is_last = node is nodes[-1]
        yield f"{indent}{'└─' if is_last else '├─'} {node['count']:,} {_named(node)}"
        yield from _branches(node["children"], indent + ("   " if is_last else "│  "))


def _named(node: Plan) -> str:
    """The label, which is in the plural, for as many as there are."""
    label = str(node["label"])
    if node["count"] != 1:
        return label
    words = label.split(" ")
    for place, word in enumerate(words):
        if word.endswith("s"):
            words[place] = word[:-1]
            break
    return " ".join(words)


def _remarks(plan: Plan) -> Iterator[str]:
    if plan["already_deleted"]:
        yield f"Beneath it were deleted before, and stay so: {_rows_of(plan['already_deleted'])}."
    if plan["at_purge"]:
        yield f"A purge would also remove {_rows_of(plan['at_purge'])}."
    for column, number in plan["set_null"].items():
        yield f"A purge would empty {column} in {counted(number)}."


def _rows_of(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{counted(number)} of {table}" for table, number in numbers.items())


def _decision(decision: Plan) -> Iterator[str]:
    yield f"To decide, {decision['kind']} ({decision['count']:,}): {decision['message']}"
    for item in decision["items"]:
        yield f"  {item['type']} {item['label']}  {item['id']}"
    more = decision["count"] - len(decision["items"])
    if more > 0:
        yield f"  and {more:,} more"
