"""All mutations, room by room."""

from .mutation import Mutation
from .rules_buddy import BUDDY
from .rules_compaction import COMPACTION
from .rules_contig import CONTIG, MIGRATION
from .rules_fallback import FALLBACK
from .rules_hotplug import HOTPLUG
from .rules_isolation import ISOLATION
from .rules_percpu import PERCPU
from .rules_release import CHOICES
from .rules_requests import REQUESTS
from .rules_seed import OVERLAP, POSTED, SEED

__all__ = ["MUTATIONS"]

MUTATIONS: tuple[Mutation, ...] = (
    *BUDDY,
    *FALLBACK,
    *REQUESTS,
    *PERCPU,
    *ISOLATION,
    *MIGRATION,
    *CONTIG,
    *SEED,
    *POSTED,
    *OVERLAP,
    *COMPACTION,
    *HOTPLUG,
    *CHOICES,
)
