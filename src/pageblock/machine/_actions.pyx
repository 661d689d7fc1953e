# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# The compiled form of actions.py.
from pageblock.mm.constants cimport ENOMEM, EREMOTE, OP_FREE, OP_FREE_CONTIG

include "actions.py"
