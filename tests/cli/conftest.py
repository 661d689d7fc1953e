"""``pageblock try`` asks consumers on recorded machines: there, too, every invariant is checked after every operation."""

import pytest

from tests.checked import check_every_operation


@pytest.fixture(autouse=True)
def every_operation_is_checked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Wrap the consumers' operations, but where a release is asked that is known to break the invariants."""
    if "posted" not in request.node.name and "bug" not in request.node.name:
        check_every_operation(monkeypatch, recorded=True)
