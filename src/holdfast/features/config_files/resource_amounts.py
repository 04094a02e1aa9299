"""Requests and limits: what a container, a pod or a claim asks for, held against Kubernetes' own rules.

The cluster's resources (`cpu`, `memory`, `ephemeral-storage`, `storage`) may be requested below their limit. Extended
ones, every name with a foreign domain such as `nvidia.com/gpu`, cannot be shared: whole, limit given, request equal.
"""

from holdfast.features.config_files.places import Place
from holdfast.features.config_files.quantities import NANO, QuantityError, parse_quantity


def examine_amounts(resources: Place | None) -> dict[str, int]:
    """What a `resources` mapping reserves, in billionths by resource name; every problem is noted at its value."""
    if resources is None:
        return {}
    limits = _read_amounts(resources.mapping("limits"))
    requests = _read_amounts(resources.mapping("requests"))
    for name, (place, requested) in requests.items():
        limit = limits.get(name)
        if is_extended_resource(name):
            _check_extended_request(place, requested, limit=None if limit is None else limit[1])
        elif limit is not None and limit[1] < requested:
            wanted, allowed = place.to_json(), limit[0].to_json()
            limit[0].refuse(f"the limit {allowed} is below the request {wanted} (line {place.line})")
    amounts = {**limits, **requests}
    for name, (place, amount) in amounts.items():
        if is_extended_resource(name) and amount % NANO:
            place.refuse(f"{name} can only be given in whole numbers")
    return {name: amount for name, (_, amount) in amounts.items()}


def examine_quantity(place: Place | None) -> None:
    """A single amount, such as an emptyDir's sizeLimit."""
    if place is not None:
        _read_amount(place)


def is_extended_resource(name: str) -> bool:
    """Whether a resource belongs to a foreign domain, and so cannot be overcommitted."""
    return "/" in name and not name.partition("/")[0].endswith("kubernetes.io")


def is_gpu_resource(name: str) -> bool:
    """`nvidia.com/gpu`, `amd.com/gpu`, the shared `…/gpu.shared`, MIG slices and Intel's `gpu.intel.com/…`."""
    domain, slash, device = name.partition("/")
    if not slash:
        return False
    return device == "gpu" or device.startswith(("gpu.", "mig-")) or domain.startswith("gpu.")


def _read_amounts(place: Place | None) -> dict[str, tuple[Place, int]]:
    amounts: dict[str, tuple[Place, int]] = {}
    if place is not None:
        for name, value in place.entries():
            amount = _read_amount(value)
            if amount is not None:
                amounts[name] = (value, amount)
    return amounts


def _read_amount(place: Place) -> int | None:
    try:
        amount = parse_quantity(place.to_json())
    except QuantityError as error:
        place.refuse(str(error))
        return None
    if amount < 0:
        place.refuse("an amount cannot be negative")
        return None
    return amount


def _check_extended_request(place: Place, requested: int, *, limit: int | None) -> None:
    if limit is None:
        place.refuse("needs a limit of the same amount: this resource cannot be shared")
    elif limit != requested:
        place.refuse("request and limit must be equal: this resource cannot be shared")
