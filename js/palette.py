"""Prints the 56 colours that follow Okabe-Ito's 8 in src/palette.ts (`.venv/bin/python js/palette.py`).

Each is the colour farthest from all before it, in OKLab, seen with full colour vision and with protanopia and
deuteranopia (Machado 2009, full severity), among colours that stand out on white and on near-black.
"""

import itertools

import numpy as np

LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
PROTAN = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])
DEUTAN = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
OKABE_ITO = "E69F00 56B4E9 009E73 F0E442 0072B2 CC79A7 D55E00 8C8C8C"


def seen(colours):
    """OKLab as seen by three kinds of eyes."""
    c = colours / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    eyes = (np.eye(3), PROTAN, DEUTAN)
    return [np.cbrt(np.clip(np.clip(linear @ eye.T, 0, 1) @ LMS.T, 0, 1)) @ LAB.T for eye in eyes]


grid = np.array(list(itertools.product(range(16, 250, 12), repeat=3)), float)
lightness, a, b = seen(grid)[0].T
grid = grid[(lightness > 0.47) & (lightness < 0.8) & (np.hypot(a, b) > 0.05)]
lab = seen(grid)


def distance(colours):
    """Of each grid colour to the nearest of `colours`, by the eye that tells them apart least."""
    pairs = zip((1.0, 2.0, 2.0), lab, seen(colours), strict=True)
    return np.min([w * np.linalg.norm(x[:, None] - y[None], axis=-1).min(1) for w, x, y in pairs], axis=0)


near = distance(np.array([[int(h[i : i + 2], 16) for i in (0, 2, 4)] for h in OKABE_ITO.split()], float))
chosen = []
for _ in range(56):
    best = near.argmax()
    chosen.append("".join(f"{int(v):02x}" for v in grid[best]))
    near = np.minimum(near, distance(grid[best : best + 1]))
print(" ".join(chosen))
