# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# The compiled scan of /proc/kpageflags; scan.py holds the code.
from pageblock.machine.kpf cimport *

include "scan.py"
