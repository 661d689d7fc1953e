# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# The compiled core: the rooms of mm/ as one extension, so that they call each other at C speed.
from pageblock.mm.constants cimport *

include "zone.py"
include "freelist.py"
include "page_alloc.py"
include "watermark.py"
include "fallback.py"
include "pcplist.py"
include "gfp.py"
include "migrate.py"
include "compaction.py"
include "page_isolation.py"
include "contig.py"
include "arguments.py"
include "batch.py"
include "invariants.py"
include "survey.py"
include "load.py"
include "digest.py"
include "bare_zone.py"
include "loaded_zone.py"
include "model.py"
