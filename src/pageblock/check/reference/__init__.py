"""An allocator of its own, to compare the model with: dicts and lists, as plain as the rules' own words.

Nothing here is shared with ``mm/`` but the numbers of migratetypes and page classes, so that the two can disagree. It is
written from the kernels' sources, one file for each of them: ``buddy`` (lists, merging, splitting), ``request`` (watermarks,
fallback, from a request to a page), ``isolation`` (mm/page_isolation.c), ``migration`` (mm/migrate.c as alloc_contig_range
uses it), ``contig`` (alloc_contig_range and its like). Slow on purpose where plain is slow.
"""

from .contig import Reference
from .rules import RELEASES, Rules, rules_of

__all__ = ["RELEASES", "Reference", "Rules", "rules_of"]
