"""What several test rooms share."""

from pathlib import Path

import pytest

#: Recorded kernels and machines that are not in the repository.
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of recordings beside the checkout; the test is skipped, visibly, where it is not."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not there")
    return SHARED
