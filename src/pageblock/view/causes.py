"""The causes as Markdown, for docs/explain.md: ``python -m pageblock.view.causes docs/explain.md`` writes them into it."""

import sys
from pathlib import Path

from ..doctor.causes import CAUSES, Cause
from ..doctor.explain import ERRNO

__all__ = ["markdown", "written_into"]

_BEGIN, _END = "<!-- causes: written by make docs -->", "<!-- end of causes -->"


def markdown() -> str:
    """The table of causes by errno, then each cause with its signature, remedies, source and commits."""
    lines: list[str] = []
    # -16 and -12 are what people come with
    for errno in (16, 12, 22, 4):
        name, word = ERRNO[errno]
        causes = [cause for cause in CAUSES.values() if errno in cause.errno]
        lines += [
            f"### -{errno} ({name}, {word}): {len(causes)} {'meaning' if len(causes) == 1 else 'meanings'}",
            "",
            "| meaning | seen in a log | sure at best | passes by itself | what helps first |",
            "| --- | --- | --- | --- | --- |",
            *(_row(cause) for cause in causes),
            "",
        ]
    lines += ["### Each cause, with its source", ""]
    for cause in CAUSES.values():
        lines += [f"* **{cause.title}** (`{cause.name}`). Source: {cause.source}."]
        lines += [f"  {source}: {_cell(text)}." for source, text in cause.seen.items() if source != "log"]
        lines += [f"  Helps: {'; '.join(_cell(remedy) for remedy in cause.remedies)}."]
        lines += [f"  Commit {commit.hash}: {commit.what} ({commit.release})." for commit in cause.commits]
    return "\n".join(lines) + "\n"


def _row(cause: Cause) -> str:
    passes = "yes" if cause.transient else "no"
    log = _cell(cause.seen.get("log", "–"))
    return f"| {_cell(cause.title)} | {log} | {cause.surest.value} | {passes} | {_cell(cause.remedies[0])} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def written_into(document: str) -> str:
    """A document with the causes between its two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, found, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not found or not end:
        raise ValueError(f"the document lacks {_BEGIN} or {_END}")
    return f"{before}{_BEGIN}\n\n{markdown()}\n{_END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written_into(path.read_text()))
