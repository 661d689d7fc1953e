"""The page's colours are told apart by people with any of the three colour blindnesses."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import pageblock.view

STYLE = (Path(pageblock.view.__file__).parent / "page" / "doctor.css").read_text()
KINDS = ("free", "move0", "move1", "move2", "move3", "blocked", "uninitialised", "hole")

#: Full colour blindness in linear RGB (Machado, Oliveira, Fernandes 2009).
SIMULATED = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

#: Distance in CIELAB that is seen at a glance in small areas; 2.3 can just be noticed.
APART = 11.0

Vector = npt.NDArray[np.float64]


def themes() -> dict[str, dict[str, str]]:
    light, dark = (re.findall(r"--(\w+): (#[0-9a-f]{6})", part) for part in STYLE.split("prefers-color-scheme")[:2])
    return {"light": dict(light), "dark": dict(dark)}


def linear(colour: str) -> Vector:
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""
    low, high = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIMULATED)
def test_kinds_of_cells_are_told_apart(theme: str, sight: str) -> None:
    colours = {kind: lab(SIMULATED[sight] @ linear(themes()[theme][kind])) for kind in KINDS}
    apart = {pair: float(np.linalg.norm(colours[pair[0]] - colours[pair[1]])) for pair in combinations(KINDS, 2)}
    assert {pair: distance for pair, distance in apart.items() if distance < APART} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["text", "dim", "yes", "no", "accent"])
def test_text_has_the_contrast_of_wcag_aa(theme: str, name: str) -> None:
    colours = themes()[theme]
    assert contrast(colours[name], colours["panel"]) >= 4.5
    assert contrast(colours[name], colours["back"]) >= 4.5
