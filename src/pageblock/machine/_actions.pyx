# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# The compiled form of actions.py.
include "actions.py"
