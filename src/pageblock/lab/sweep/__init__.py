"""Sweeps: one workload or several, on many machines, from many seeds, on one machine's cores or a cluster's."""

from .engine import Outcome, carry_out
from .plan import PARAMETERS, Plan, Run, load_sweep
from .results import Results, read_results
from .same import Same, held_together

__all__ = [
    "PARAMETERS",
    "Outcome",
    "Plan",
    "Results",
    "Run",
    "Same",
    "carry_out",
    "held_together",
    "load_sweep",
    "read_results",
]
