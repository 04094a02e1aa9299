"""Where the boxes of a layered picture stand: parents above their children, few crossings, lines short.

Sugiyama's method in its plain form. A link that passes a layer gets a bend there, which links of one bundle share.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

_SWEEPS = 24
# The upper node, the lower one, and how far right of the lower one's left side it enters.
Part = tuple["Node", "Node", float]
Parts = dict[int, list[Part]]


@dataclass
class Node:
    """A box or a bend. `x` is its left side, after `arrange`."""

    name: str
    layer: int
    width: float
    is_bend: bool = False
    x: float = 0.0

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Link:
    """From a parent to a child. Those of one parent and bundle share their bends; `port` is where on its top, from the
    left, it enters the child.
    """

    parent: str
    child: str
    label: str
    bundle: Hashable
    port: float


@dataclass
class Layout:
    """The layers from above, each from the left, and for each link the nodes that it passes, ends included."""

    layers: list[list[Node]]
    routes: dict[Link, list[Node]] = field(default_factory=dict)

    @property
    def width(self) -> float:
        return max(node.x + node.width for layer in self.layers for node in layer)


def arrange(nodes: Iterable[Node], links: Iterable[Link], *, gap: float, bend_width: float) -> Layout:
    """Order and place the nodes; their `layer` and `width` are given."""
    by_name = {node.name: node for node in nodes}
    layers: list[list[Node]] = [[] for _ in range(1 + max(node.layer for node in by_name.values()))]
    for node in by_name.values():
        layers[node.layer].append(node)
    layout = Layout(layers)
    for link in links:
        layout.routes[link] = _route(link, by_name, layers, bend_width)
    steps = _steps(layout)
    _order(layers, steps)
    _place(layers, steps, gap)
    return layout


def _route(link: Link, by_name: dict[str, Node], layers: list[list[Node]], bend_width: float) -> list[Node]:
    parent, child = by_name[link.parent], by_name[link.child]
    route = [parent]
    for layer in range(parent.layer + 1, child.layer):
        name = f"{link.parent}/{link.bundle}/{layer}"
        if name not in by_name:
            by_name[name] = Node(name, layer, bend_width, is_bend=True)
            layers[layer].append(by_name[name])
        route.append(by_name[name])
    return [*route, child]


def _steps(layout: Layout) -> Parts:
    """The parts of all routes by the layer that they leave: each once, however many links share it."""
    steps: dict[int, dict[tuple[str, str, float], Part]] = {}
    for link, route in layout.routes.items():
        for upper, lower in pairwise(route):
            port = lower.width / 2 if lower.is_bend else link.port
            steps.setdefault(upper.layer, {})[upper.name, lower.name, port] = (upper, lower, port)
    return {layer: list(parts.values()) for layer, parts in steps.items()}


def _order(layers: list[list[Node]], steps: Parts) -> None:
    """Put each node near the mean of its neighbours, from above and from below in turn, and keep the best order."""
    best = [list(layer) for layer in layers]
    fewest = _crossings(layers, steps)
    for sweep in range(_SWEEPS):
        downward = sweep % 2 == 0
        for index in range(len(layers)) if downward else reversed(range(len(layers))):
            rank = {node.name: place for layer in layers for place, node in enumerate(layer)}
            near = _neighbours(steps.get(index - 1 if downward else index, []), downward)
            layers[index].sort(
                key=lambda node: (
                    fmean(rank[other] for other in near[node.name]) if node.name in near else rank[node.name]
                )
            )
        _swap_neighbours(layers, steps)
        crossings = _crossings(layers, steps)
        if crossings < fewest:
            fewest, best = crossings, [list(layer) for layer in layers]
    for layer, order in zip(layers, best, strict=True):
        layer[:] = order


def _neighbours(parts: Iterable[Part], downward: bool) -> dict[str, list[str]]:
    near: dict[str, list[str]] = {}
    for upper, lower, _ in parts:
        of, other = (lower, upper) if downward else (upper, lower)
        near.setdefault(of.name, []).append(other.name)
    return near


def _swap_neighbours(layers: list[list[Node]], steps: Parts) -> None:
    improved = True
    while improved:
        improved = False
        for layer in layers:
            for left in range(len(layer) - 1):
                before = _crossings(layers, steps)
                layer[left], layer[left + 1] = layer[left + 1], layer[left]
                if _crossings(layers, steps) < before:
                    improved = True
                else:
                    layer[left], layer[left + 1] = layer[left + 1], layer[left]


def _crossings(layers: list[list[Node]], steps: Parts) -> int:
    rank = {node.name: place for layer in layers for place, node in enumerate(layer)}
    number = 0
    for parts in steps.values():
        ends = [(rank[upper.name], (rank[lower.name], port)) for upper, lower, port in parts]
        number += sum(1 for a in ends for b in ends if a[0] < b[0] and a[1] > b[1])
    return number


def _place(layers: list[list[Node]], steps: Parts, gap: float) -> None:
    for layer in layers:
        _spread(layer, [0.0] * len(layer), gap)
    for sweep in range(2 * _SWEEPS):
        downward = sweep % 2 == 0
        for index in range(len(layers)) if downward else reversed(range(len(layers))):
            parts = steps.get(index - 1 if downward else index, [])
            wanted: dict[str, list[float]] = {}
            for upper, lower, port in parts:
                if downward:
                    wanted.setdefault(lower.name, []).append(upper.middle - port)
                else:
                    wanted.setdefault(upper.name, []).append(lower.x + port - upper.width / 2)
            _spread(layers[index], [fmean(wanted.get(node.name, [node.x])) for node in layers[index]], gap)
    leftmost = min(node.x for layer in layers for node in layer)
    for layer in layers:
        for node in layer:
            node.x -= leftmost


def _spread(layer: list[Node], wanted: list[float], gap: float) -> None:
    """Place a layer's nodes as near to where they are wanted as their order, widths and gaps allow.

    Least squares under an order: blocks that would overlap are merged and stand at their common mean.
    """
    offsets = [0.0]
    for node in layer[:-1]:
        offsets.append(offsets[-1] + node.width + gap)
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=True):
        mean, size = place - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean = (mean * size + before * count) / (size + count)
            size += count
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    for node, mean, offset in zip(layer, means, offsets, strict=True):
        node.x = mean + offset
