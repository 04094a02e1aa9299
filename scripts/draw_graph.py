"""Draw the cascade graph: docs/images/cascades.svg and docs/development/cascades.md; --check says if they are current.

Both come from the graph that plan, deletion, bundle and purge read, so they cannot say anything else.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Table

from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.db.tables.base import Deletion, policy_of
from scripts.layered_layout import Layout, Link, Node, arrange

DOCS = Path(__file__).parent.parent / "docs"
PICTURE = DOCS / "images" / "cascades.svg"
PAGE = DOCS / "development" / "cascades.md"

_COLUMN_CHARACTER = 6.7
_TITLE_CHARACTER = 8.4
_GAP = 28.0
_BEND_WIDTH = 8.0
_CELL_HEIGHT = 22.0
_BOX_HEIGHT = 56.0
_NARROWEST = 120.0
_LAYER_HEIGHT = 158.0
_MARGIN = 24.0
_TOP = 76.0
_ARROW = 6.0

_POLICY_WORDS = {
    Deletion.SOFT: "marked with its deletion, purged later",
    Deletion.PURGE_ONLY: "goes only by a purge or by retention",
    Deletion.EXPIRES: "working state that expires",
}
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
    ' font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif" role="img"'
    ' aria-label="The tables of Holdfast, parents above their children, and what goes with what">'
)
_STYLE = """\
  <style>
    .soft { fill: #e6f2ec; stroke: #2f7d5b }
    .purge_only { fill: #fdf0d9; stroke: #b7791f }
    .expires { fill: #eceff3; stroke: #7b8794 }
    .cell { fill: #ffffff; stroke: #c5cedb }
    .title { font-size: 14px; font-weight: 600; fill: #17212b; text-anchor: middle }
    .column { font-size: 12px; fill: #3a4a5c; text-anchor: middle }
    .legend { font-size: 13px; fill: #3a4a5c }
    .link { fill: none; stroke-width: 1.8 }
    .set-null { stroke-dasharray: 6 4 }
  </style>"""
# What comes from one parent has one colour, so that a line can be followed.
_COLOURS = ("#1f5fa8", "#b0413e", "#7a4fb0", "#2f7d5b", "#a8651f", "#0e7c86", "#a13a80", "#5a6b1f")


def main() -> int:
    wanted = {PICTURE: picture(), PAGE: page()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is not current: run `python -m scripts.draw_graph`")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


def picture() -> str:
    columns = {table.name: [edge.column.name for edge in GRAPH.edges if edge.child is table] for table in _linked()}
    layout = _arranged(columns)
    # Once more with the columns of each table in the order in which their lines arrive.
    for table, names in columns.items():
        names.sort(key=lambda name: _arrives_at(layout, table, name))
    layout = _arranged(columns)
    alone = [table for table in GRAPH.tables if table not in _linked()]
    width = layout.width + 2 * _MARGIN
    bottom = _TOP + len(layout.layers) * _LAYER_HEIGHT - 60
    height = bottom + _BOX_HEIGHT + _MARGIN
    lines = [
        _HEAD.format(width=width, height=height),
        f'  <rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        _STYLE,
        *_legend(),
        *_links(layout),
        *(line for layer in layout.layers for node in layer if not node.is_bend for line in _box(node, columns)),
        *_boxes_in_a_row(alone, bottom),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    lines = [
        "# What goes with what",
        "",
        "Written by `python -m scripts.draw_graph` from the tables in",
        "[db/tables](../../src/holdfast/db/tables/base.py); a test fails when it is not current. Plan, soft delete,",
        "restore, bundle and purge follow the same graph, and the start of the server compares it with the live",
        "database.",
        "",
        "![The tables, parents above their children](../images/cascades.svg)",
        "",
        "A solid line is a CASCADE: the row goes with its parent. A dashed line is SET NULL: the row stays, and a",
        "purge empties its pointer.",
        "",
        "## Foreign keys",
        "| column | names | when the parent goes |",
        "|---|---|---|",
        *(f"| `{edge.name}` | `{edge.parent.name}.{edge.key.name}` | {edge.rule} |" for edge in GRAPH.edges),
        "",
        f"{len(GRAPH.edges)} foreign keys; the longest cascade passes through {GRAPH.longest_path} tables.",
        "",
        "## What a deletion can take",
        "| deleted | table | rows of |",
        "|---|---|---|",
        *(f"| {name} | `{root.name}` | {_beneath(root)} |" for name, root in sorted(GRAPH.root_types.items())),
        "",
        "## How rows leave",
        "| table | a deletion | recovery bundle | retention | in the audit log as |",
        "|---|---|---|---|---|",
        *(_policy_row(table) for table in sorted(GRAPH.tables, key=lambda each: each.name)),
    ]
    return "\n".join(lines) + "\n"


def _linked() -> list[Table]:
    return [table for table in GRAPH.tables if any(table in (edge.child, edge.parent) for edge in GRAPH.edges)]


def _arranged(columns: dict[str, list[str]]) -> Layout:
    nodes = [Node(table.name, _layer_of(table), _width_of(table.name, columns)) for table in _linked()]
    return arrange(nodes, [_link(edge, columns) for edge in GRAPH.edges], gap=_GAP, bend_width=_BEND_WIDTH)


def _layer_of(table: Table) -> int:
    return max((1 + _layer_of(edge.parent) for edge in GRAPH.edges if edge.child is table), default=0)


def _link(edge: Edge, columns: dict[str, list[str]]) -> Link:
    """Links of one parent and rule share their bends."""
    port = dict(_cells(edge.child.name, columns))[edge.column.name]
    return Link(edge.parent.name, edge.child.name, bundle=edge.rule, label=edge.column.name, port=port[0] + port[1] / 2)


def _cell_width(column: str) -> float:
    return len(column) * _COLUMN_CHARACTER + 16


def _width_of(table: str, columns: dict[str, list[str]]) -> float:
    return max(_NARROWEST, len(table) * _TITLE_CHARACTER + 28, sum(map(_cell_width, columns[table])))


def _cells(table: str, columns: dict[str, list[str]]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Each column's cell in the head of its table's box: how far from the left it begins, and its width."""
    names = columns[table]
    spare = (_width_of(table, columns) - sum(map(_cell_width, names))) / max(len(names), 1)
    left = 0.0
    for name in names:
        yield name, (left, _cell_width(name) + spare)
        left += _cell_width(name) + spare


def _arrives_at(layout: Layout, table: str, column: str) -> float:
    (route,) = (route for link, route in layout.routes.items() if (link.child, link.label) == (table, column))
    return route[-2].middle


def _top_of(node: Node) -> float:
    return _TOP + node.layer * _LAYER_HEIGHT


def _colour_of(parent: str) -> str:
    parents = [table.name for table in GRAPH.tables if any(edge.parent is table for edge in GRAPH.edges)]
    return _COLOURS[parents.index(parent) % len(_COLOURS)]


def _links(layout: Layout) -> Iterator[str]:
    for link, route in layout.routes.items():
        x, y = _way_out(layout, link), _top_of(route[0]) + _BOX_HEIGHT
        path = f"M{x:.0f} {y:.0f}"
        for lower in route[1:]:
            top = _top_of(lower) if lower.is_bend else _top_of(lower) - _ARROW
            to_x = _MARGIN + (lower.middle if lower.is_bend else lower.x + link.port)
            half = (y + top) / 2
            path += f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {top:.0f}"
            x, y = to_x, top
            if lower.is_bend:
                y += _BOX_HEIGHT
                path += f"V{y:.0f}"
        colour = _colour_of(link.parent)
        kind = "link set-null" if link.bundle == Rule.SET_NULL else "link"
        yield f'  <path class="{kind}" stroke="{colour}" d="{path}"/>'
        yield f'  <path fill="{colour}" d="M{x - 4.5:.1f} {y:.1f}h9l-4.5 {_ARROW:.1f}z"/>'


def _way_out(layout: Layout, link: Link) -> float:
    """Where a link leaves its parent: in the order of where the links go, spread over the lower side."""
    ways: dict[tuple[str, float], float] = {}
    for other, route in layout.routes.items():
        if other.parent == link.parent:
            ways[_first_stop(other, route)] = route[1].middle if route[1].is_bend else route[1].x + other.port
    order = sorted(ways, key=lambda stop: ways[stop])
    parent = layout.routes[link][0]
    place = order.index(_first_stop(link, layout.routes[link])) + 1
    return _MARGIN + parent.x + parent.width * place / (len(order) + 1)


def _first_stop(link: Link, route: list[Node]) -> tuple[str, float]:
    return (route[1].name, 0.0 if route[1].is_bend else link.port)


def _box(node: Node, columns: dict[str, list[str]]) -> Iterator[str]:
    x, y = _MARGIN + node.x, _top_of(node)
    yield from _plain_box(node.name, x, y, node.width, in_middle=not columns[node.name])
    for column, (left, width) in _cells(node.name, columns):
        yield (
            f'  <rect class="cell" x="{x + left + 2:.0f}" y="{y + 2:.0f}" width="{width - 4:.0f}"'
            f' height="{_CELL_HEIGHT - 2:.0f}" rx="4"/>'
        )
        yield f'  <text class="column" x="{x + left + width / 2:.0f}" y="{y + 16:.0f}">{column}</text>'
    if any(edge.parent.name == node.name for edge in GRAPH.edges):
        yield (
            f'  <rect x="{x + 6:.0f}" y="{y + _BOX_HEIGHT - 3:.0f}" width="{node.width - 12:.0f}" height="3"'
            f' fill="{_colour_of(node.name)}"/>'
        )


def _plain_box(table: str, x: float, y: float, width: float, *, in_middle: bool) -> Iterator[str]:
    (policy,) = (policy_of(each).deletion for each in GRAPH.tables if each.name == table)
    size = f'width="{width:.0f}" height="{_BOX_HEIGHT:.0f}"'
    yield f'  <rect class="{policy.value}" x="{x:.0f}" y="{y:.0f}" {size} rx="7"/>'
    down = _BOX_HEIGHT / 2 + 5 if in_middle else _BOX_HEIGHT - 14
    yield f'  <text class="title" x="{x + width / 2:.0f}" y="{y + down:.0f}">{table}</text>'


def _boxes_in_a_row(tables: list[Table], y: float) -> Iterator[str]:
    yield f'  <text class="legend" x="{_MARGIN:.0f}" y="{y - 12:.0f}">Without foreign keys:</text>'
    x = _MARGIN
    for table in tables:
        width = len(table.name) * _TITLE_CHARACTER + 28
        yield from _plain_box(table.name, x, y, width, in_middle=True)
        x += width + _GAP


def _legend() -> Iterator[str]:
    x = _MARGIN
    for policy, words in _POLICY_WORDS.items():
        yield f'  <rect class="{policy.value}" x="{x:.0f}" y="14" width="20" height="14" rx="3"/>'
        yield f'  <text class="legend" x="{x + 27:.0f}" y="26">{words}</text>'
        x += 27 + len(words) * 6.6 + 30
    x = _MARGIN
    for kind, words in (
        ("link", "CASCADE: the row goes with its parent"),
        ("link set-null", "SET NULL: the row stays, a purge empties its pointer"),
    ):
        yield f'  <path class="{kind}" stroke="#3a4a5c" d="M{x:.0f} 47h34"/>'
        yield f'  <text class="legend" x="{x + 42:.0f}" y="52">{words}</text>'
        x += 42 + len(words) * 6.6 + 30


def _beneath(root: Table) -> str:
    others = [f"`{table.name}`" for table in GRAPH.beneath(root) if table is not root]
    return ", ".join(others) or "nothing else"


def _policy_row(table: Table) -> str:
    policy = policy_of(table)
    carried = "carries it" if policy.in_bundle else ""
    name = policy.audited_as or ""
    return f"| `{table.name}` | {_POLICY_WORDS[policy.deletion]} | {carried} | {policy.retention} | {name} |"


if __name__ == "__main__":
    sys.exit(main())
