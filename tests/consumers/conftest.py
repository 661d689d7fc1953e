"""Every invariant of every zone is checked after every operation of a consumer, in whichever test it is called."""

import pytest

from pageblock import Zone
from pageblock.consumers import cma_boot
from pageblock.consumers.cma import CmaArea
from pageblock.mm.memory import Memory
from tests.checked import check_every_operation, check_zones


@pytest.fixture(autouse=True)
def every_operation_is_checked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Wrap the consumers' operations; ``activate`` is a function that test modules import by name."""
    check_every_operation(monkeypatch)
    if getattr(request.module, "activate", None) is cma_boot.activate:

        def activate(memory: Zone | Memory, area: cma_boot.Reserved) -> CmaArea | None:
            try:
                return cma_boot.activate(memory, area)
            finally:
                check_zones(memory)

        monkeypatch.setattr(request.module, "activate", activate)
