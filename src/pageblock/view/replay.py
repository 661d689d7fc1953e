"""A replay in words: what was compared, and where model and kernel part."""

from ..lab.replay import Replay

__all__ = ["describe"]


def describe(result: Replay) -> str:
    """One line for a replay that agrees; the divergence with both answers for one that does not."""
    counts = (
        f"{result.operations:,} operations, {result.contig_ranges:,} contig ranges, {result.migrations:,} migrations, "
        f"{result.hashes:,} state hashes, {result.dumps:,} dumps"
    )
    if result.cma_requests:
        counts += f", {result.cma_requests:,} CMA requests"
    if result.compactions:
        counts += f", {result.compactions:,} compactions"
    if result.divergence is None:
        return f"{result.trace}: {counts}: all equal to Linux {result.kernel} (release {result.release})"
    d = result.divergence
    lines = [
        f"{result.trace}: divergence at operation {d.operations:,} (line {d.line:,}): {d.what}",
        f"  kernel  {d.kernel}",
        f"  model   {d.model}   (release {result.release})",
        *(f"  {line}" for line in d.around),
    ]
    return "\n".join(lines)
