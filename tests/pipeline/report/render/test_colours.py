"""The page's colours are readable in both themes and distinguishable for colour-blind readers."""

import itertools
import re
from importlib import resources

import numpy as np
import pytest

from pipeline.report.render.drawing import COLOURS

CSS = (resources.files("pipeline.report") / "assets" / "style.css").read_text()
# Machado, Oliveira and Fernandes (2009): linear RGB as seen with full protanopia and deuteranopia.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def blocks():
    """Every set of colours by its selector."""
    return {
        selector.strip(): dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", body))
        for selector, body in re.findall(r"([^{}]+)\{([^{}]*--page:[^{}]*)\}", CSS)
    }


def linear(colour):
    part = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG 2's ratio."""
    first, second = sorted(0.05 + linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return second / first


def lab(rgb):
    """CIELAB of linear RGB."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.clip(np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089], 0, None)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_a_chosen_theme_equals_the_theme_of_the_system():
    light, system, chosen = blocks().values()
    assert system == chosen and set(light) == set(system) and len(light) > 15


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_can_be_read(theme):
    colours = list(blocks().values())[theme]
    for ground in ("--page", "--raised"):
        for text in ("--ink", "--muted", "--accent", "--right", "--wrong"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for name in colours:
        if name.startswith("--series"):
            assert contrast(colours[name], colours["--page"]) >= 3, name


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("sight", [None, *BLIND])
def test_series_can_be_told_apart(theme, sight):
    """A difference of 10 in CIELAB is easy to see. Symbols differ as well."""
    colours = list(blocks().values())[theme]
    seen = [
        np.array(BLIND.get(sight, np.eye(3))) @ linear(colours[f"--series-{number}"])
        for number in range(1, COLOURS + 1)
    ]
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(lab(one) - lab(other)) > 10
