"""The explorer: every state of a small zone that operations can reach, and whether it keeps what the release promises.

``small_zone``, ``state``, ``step`` and ``expand`` are compiled together with the rooms of mm/ into ``_explore``; they work
uncompiled, too.
"""

from .bounds import OPERATIONS, Bounds
from .explore import Exploration, explore
from .promises import PROMISES
from .sequence import Sequence, Step

__all__ = ["OPERATIONS", "PROMISES", "Bounds", "Exploration", "Sequence", "Step", "explore"]
