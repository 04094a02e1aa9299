"""Which statements there are to review: all that are declared, and those that lists make as they are asked."""

import importlib
import pkgutil
import re

import holdfast
from holdfast.db.listing import listings
from holdfast.db.statements import Statement, registry

# What imports only edges has no statement, and importing the migrations would need a database.
_WITHOUT_STATEMENTS = ("holdfast.cli", "holdfast.api", "holdfast.app", "holdfast.console", "holdfast.db.migrations")
# The variants of a list with more filters than these repeat the plans of those with fewer.
FEW_FILTERS = 1
_VARIANT = re.compile(r"(?P<list>[a-z_.]+)\.(?:list|page|list_later|page_later|after|count)\(")
_LIKE_THE_FIRST = re.compile(r"[a-z_.]+\.(?:page|list_later|page_later)\(")


def declared_statements() -> list[Statement]:
    """Every named statement of the product that does not depend on what a list is asked for."""
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if not module.name.startswith(_WITHOUT_STATEMENTS) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [each for each in registry if _is_of_the_product(each.name) and not is_list_variant(each.name)]


def list_variants(most_filters: int | None = FEW_FILTERS) -> list[Statement]:
    """What the lists of the product run, with at most so many filters at once; None means all sets of filters.

    Of the pages by their number only the first with its total is among them, and is reviewed without counting: the plan
    of the others is the same.
    """
    product = [each for each in list(listings.values()) if _is_of_the_product(each.name)]
    variants = [variant for listing in product for variant in listing.declare_all(most_filters)]
    return [each for each in variants if not _LIKE_THE_FIRST.match(each.name)]


def is_list_variant(name: str) -> bool:
    """Whether a list makes the statement as it is asked."""
    found = _VARIANT.match(name)
    return found is not None and found["list"] in listings


def filters_of(name: str) -> list[str]:
    """The filters in the name of a list's variant: `forms.list(mine,status,tag):-created_at` has two."""
    return name.partition("(")[2].partition(")")[0].split(",")[1:]


def _is_of_the_product(name: str) -> bool:
    # The key map of imports is in few databases, and no request reads it.
    return not name.startswith(("tests.", "bench.", "legacy_keys."))
