"""Pictures of curves: what the options do to them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pageblock.view import plot

AT = np.array([1.0, 2.0, 3.0])
CURVES: list[plot.Curve] = [("one", AT, AT / 10, AT / 20, AT / 5, "linear")]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Draws a picture and gives its axes."""
    kept: list[Any] = []
    save = plot._save

    def keep(path: Path, figure: Any, force: bool) -> None:
        kept.append(figure)
        save(path, figure, force)

    monkeypatch.setattr(plot, "_save", keep)

    def draw(**options: Any) -> Any:
        plot.draw_curves(tmp_path / "p.png", CURVES, "x", "y", "title", force=True, **options)
        return kept[-1].axes[0]

    return draw


def test_curves_begin_at_nothing(drawn: Any) -> None:
    axes = drawn()
    assert (axes.get_yscale(), axes.get_ylim()[0], axes.get_ylabel()) == ("linear", 0, "y")


def test_a_logarithmic_scale_keeps_its_limits(drawn: Any) -> None:
    axes = drawn(log=True, limits=(0.01, 1))
    assert (axes.get_yscale(), axes.get_ylim()) == ("log", (0.01, 1))


def test_a_mark_is_a_line_across_with_its_words(drawn: Any) -> None:
    axes = drawn(mark=(0.25, "a quarter"))
    assert axes.lines[-1].get_ydata() == [0.25, 0.25]
    assert [text.get_text() for text in axes.texts] == ["a quarter"]


def test_a_page_has_the_mark_and_the_scale(tmp_path: Path) -> None:
    path = tmp_path / "p.html"
    plot.draw_curves(path, CURVES, "x", "y", "title", force=False, log=True, limits=(0.01, 1), mark=(0.25, "a quarter"))
    text = path.read_text()
    assert "a quarter" in text
    assert '"type":"log"' in text
