"""``pageblock try gigantic``: what a write to nr_hugepages of a gigantic size would give."""

import click

from ...consumers import Trial
from ...consumers.hugetlb import HugetlbPool, gigantic_order
from ...doctor.sizes import parse_size, size_name
from ...errors import InputError
from ...lab.explain import explain_gigantic
from ...mm import Geometry
from ...mm.errors import UsageError
from ...mm.memory import Memory
from .asking import answer, machine_options, read

__all__ = ["command"]


@click.command(name="gigantic")
@click.option("--count", metavar="N", type=click.IntRange(1, 4096), default=1, show_default=True, help="How many.")
@click.option(
    "--node", metavar="NODE", type=click.IntRange(0), help="Only of this node. [default: round robin over all]"
)
@click.option("--size", metavar="SIZE", default="1G", show_default=True, help="Of one page: 1G, 32M, 16G …")
@machine_options
@click.pass_context
def command(
    ctx: click.Context,
    count: int,
    node: int | None,
    size: str,
    source: str | None,
    recorded: bool,
    releases: tuple[str, ...],
    as_json: bool,
) -> None:
    """Gigantic huge pages, as /sys/kernel/mm/hugepages/…/nr_hugepages gives them at run time."""
    snapshot = read(source, recorded)
    pages = parse_size(size, snapshot.page_size)
    geometry = Geometry(
        1, 0, snapshot.max_order, snapshot.pageblock_order, page_size=snapshot.page_size, section_size=None
    )
    try:
        order = gigantic_order(pages * snapshot.page_size, geometry)
    except UsageError as wrong:
        raise InputError(f"--size {size}: {wrong}") from None
    nodes = sorted({zone.node for zone in snapshot.zones})
    if node is not None and node not in nodes:
        raise InputError(
            f"--node {node}: {snapshot.source} has no such node: choose one of {', '.join(map(str, nodes))}"
        )
    name = size_name(pages, snapshot.page_size)

    def ask(memory: Memory) -> Trial:
        pool = HugetlbPool(memory, order)
        had = pool.set_nr_hugepages(count, node)
        return Trial(
            memory.members[0].zone.release,
            count,
            had,
            f"gigantic pages of {name}",
            tuple((page.pfn, page.pfn + pages) for page in pool.pages),
            tuple(pool.steps),
            {"nr_hugepages": pool.nr_huge_pages},
            explain_gigantic(pool, count, node, name),
        )

    assumptions = [
        "no hugetlb_cma area: whether CMA pageblocks are one is not recorded, so pages come from alloc_contig_pages",
        "free lists in pfn order, and no page pinned but those that the record tells; nothing else runs meanwhile",
    ]
    where = f"on node {node}" if node is not None else "on any node"
    question = f"{count:,} × gigantic page of {name} {where}"
    ctx.exit(answer(snapshot, releases, question, ask, assumptions, as_json))
