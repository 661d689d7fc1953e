"""What the documentation shows of commands is what they print; ``make docs`` writes it anew."""

from pathlib import Path

import pytest

from docs.transcripts import BLOCK, rewritten

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "commands"), [("series.md", 1), ("doctor.md", 1)])
def test_what_commands_print_is_not_stale(name: str, commands: int) -> None:
    text = (DOCS / name).read_text()
    assert len(BLOCK.findall(text)) == commands
    assert rewritten(text) == text


def test_only_fenced_blocks_that_begin_with_a_command_are_written() -> None:
    text = "```\n$ pageblock --version\nold\n```\n\n```\n$ other\nkept\n```\n"
    assert rewritten(text).startswith("```\n$ pageblock --version\npageblock, version ")
    assert rewritten(text).endswith("```\n\n```\n$ other\nkept\n```\n")
