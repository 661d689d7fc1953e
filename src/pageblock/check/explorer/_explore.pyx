# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# The explorer's compiled form: the rules are the rooms of mm/ themselves, compiled once more beside the loop that asks them.
from libc.string cimport memcpy

from pageblock.mm.constants cimport *
from pageblock.check.explorer.codes cimport *

include "pageblock/mm/zone.py"
include "pageblock/mm/freelist.py"
include "pageblock/mm/page_alloc.py"
include "pageblock/mm/watermark.py"
include "pageblock/mm/overlap.py"
include "pageblock/mm/fallback.py"
include "pageblock/mm/pcplist.py"
include "pageblock/mm/gfp.py"
include "pageblock/mm/migrate.py"
include "pageblock/mm/page_isolation.py"
include "pageblock/mm/posted.py"
include "pageblock/mm/contig.py"
include "pageblock/mm/invariants.py"
include "small_zone.py"
include "state.py"
include "step.py"
include "expand.py"
