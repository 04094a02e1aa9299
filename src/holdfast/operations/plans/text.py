"""Plans as a text that a person reads in review: one line a statement, the variants of a list grouped by their plan."""

from collections.abc import Iterable, Mapping

from holdfast.operations.plans.statements import FEW_FILTERS, filters_of, is_list_variant
from holdfast.operations.plans.types import Plan

_MORE = f"more than {FEW_FILTERS} filter"


def write_plans(plans: Mapping[str, Plan]) -> str:
    """Every plan, in the order of names; of a list with several filters only the plans that its sets come to."""
    lines: dict[str, set[str]] = {}
    for name, plan in plans.items():
        lines.setdefault(_shown_name(name), set()).add(plan.words)
    shown = [f"{name}: {words}" for name in sorted(lines) for words in sorted(lines[name])]
    return "\n".join(_with_headings(shown)) + "\n"


def read_plans(text: str) -> dict[str, list[str]]:
    """The plans of each line of such a text, without their statements' exact variants."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, words = line.rpartition(": ")
            found.setdefault(name, []).append(words)
    return found


def _shown_name(name: str) -> str:
    """Both directions of a sort on one line: an index is read from either end."""
    plain = name.replace("):-", "):")
    if is_list_variant(name) and len(filters_of(name)) > FEW_FILTERS:
        head, _, tail = plain.partition("(")
        scope = tail.partition(",")[0]
        return f"{head}({scope}, {_MORE})"
    return plain


def _with_headings(lines: Iterable[str]) -> Iterable[str]:
    heading = ""
    for line in lines:
        feature = line.partition(".")[0]
        if feature != heading:
            heading = feature
            yield f"\n# {feature}"
        yield line
