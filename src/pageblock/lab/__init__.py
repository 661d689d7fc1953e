"""Runs of the model over many operations: replays of recorded kernels."""

from .replay import Divergence, Replay, replay

__all__ = ["Divergence", "Replay", "replay"]
