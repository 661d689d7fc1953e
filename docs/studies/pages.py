"""A study's folder: its numbers in ``summary.json``, the tables between two marks of its ``README.md``, its picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["with_tables", "write"]

BEGIN, END = "<!-- tables: made by answer.py -->", "<!-- end of tables -->"


def with_tables(text: str, tables: str) -> str:
    """The page's text with these tables between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def write(
    folder: Path,
    found: dict[str, Any],
    page: Callable[[dict[str, Any]], str],
    draw: Callable[[dict[str, Any], Path], None],
    picture: str,
) -> None:
    """Write numbers, page and picture of a study."""
    (folder / "summary.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    readme = folder / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8"), page(found)), encoding="utf-8")
    draw(found, folder / picture)
