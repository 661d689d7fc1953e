"""Sweeps: one workload or several, on many machines, from many seeds, on one machine's cores or a cluster's."""

from .engine import Outcome, carry_out
from .plan import PARAMETERS, Plan, Run, load_sweep
from .results import Results, read_results

__all__ = ["PARAMETERS", "Outcome", "Plan", "Results", "Run", "carry_out", "load_sweep", "read_results"]
