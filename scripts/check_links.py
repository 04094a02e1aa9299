"""Check that every relative link in the README and the documentation leads to a file. Prints those that do not."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LINK = re.compile(r"\]\(<?([^)\s>]+)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def find_broken_links(root: Path) -> Iterator[str]:
    for page in [*sorted(root.glob("*.md")), *sorted(root.glob("docs/**/*.md"))]:
        for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            path = target.partition("#")[0]
            if path and "://" not in path and not path.startswith("mailto:") and not (page.parent / path).exists():
                yield f"{page.relative_to(root)}: {target} does not exist"


def main() -> int:
    broken = list(find_broken_links(Path(__file__).parent.parent))
    print("\n".join(broken) or "Every link leads to a file.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
