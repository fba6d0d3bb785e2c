"""Colours are told apart with normal sight and with the three kinds of colour blindness."""

import itertools
import re

import numpy as np
import pytest
from scbind.formats.colours import PALETTE
from scbind.report.page import TEMPLATES
from scbind.report.style import NEUTRAL

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]


def lab(colours, sight):
    """CIELAB (D65) of colours as someone with this sight sees them."""
    values = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SIGHT[sight]).T, 0, 1) @ np.array(XYZ).T / [0.95047, 1, 1.08883]
    f = np.where(seen > 216 / 24389, np.cbrt(seen), (24389 / 27 * seen + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def ciede2000(one, other):
    """Difference of two colours (Sharma, Wu and Dalal 2005)."""
    (light1, a1, b1), (light2, a2, b2) = one, other
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    wider = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    c1, c2 = np.hypot(wider * a1, b1), np.hypot(wider * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, wider * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    light, chroma, middle = (light1 + light2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360
    t = 1 - 0.17 * np.cos(np.radians(middle - 30)) + 0.24 * np.cos(np.radians(2 * middle))
    t += 0.32 * np.cos(np.radians(3 * middle + 6)) - 0.2 * np.cos(np.radians(4 * middle - 63))
    of_light = (light2 - light1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    of_chroma, of_hue = (c2 - c1) / (1 + 0.045 * chroma), hue / (1 + 0.015 * chroma * t)
    turned = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    turned *= np.sin(np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2))))
    return np.sqrt(of_light**2 + of_chroma**2 + of_hue**2 + turned * of_chroma * of_hue)


def least(colours, sight):
    return min(ciede2000(*pair) for pair in itertools.combinations(lab(colours, sight), 2))


def test_the_measure_is_that_of_the_paper():
    """The first pairs of the table of Sharma, Wu and Dalal."""
    assert ciede2000((50, 2.6772, -79.7751), (50, 0, -82.7485)) == pytest.approx(2.0425, abs=1e-4)
    assert ciede2000((50, 2.5, 0), (73, 25, -18)) == pytest.approx(27.1492, abs=1e-4)


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_differ(sight):
    assert len(PALETTE) == 60
    assert least(PALETTE[:16], sight) >= 8.9
    assert least(PALETTE[:24], sight) >= 6.6
    assert least([*PALETTE, NEUTRAL], sight) >= 4.0


def luminance(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return float(np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ XYZ[1])


def test_colours_show_on_white_and_on_the_dark_page():
    """Contrast as WCAG defines it, and the difference from white. The palest colour is one of Okabe and Ito."""
    dark = re.search(r"dark\).*?--paper: (#\w{6})", (TEMPLATES / "report.css").read_text(), re.DOTALL)[1]
    for colour in PALETTE:
        light = luminance(colour)
        assert (light + 0.05) / (luminance(dark) + 0.05) >= 3, colour
        assert 1.05 / (light + 0.05) >= 2.25, colour
        for sight in SIGHT:
            assert ciede2000(*lab([colour, "#FFFFFF"], sight)) >= 20, (colour, sight)
