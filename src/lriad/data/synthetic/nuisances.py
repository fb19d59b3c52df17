"""What a sound part may show all the same: wear, seams, print, clutter, a shadow. Never a defect, and never masked."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lriad.data.synthetic.canvas import UNITS, Canvas, Floats, Rng, any_colour, circle, hsv, spoke, turned


def disturb(canvas: Canvas, rng: Rng) -> None:
    """Each nuisance of the part and its surroundings with a chance of its own, under its components."""
    for chance, nuisance in ((0.15, scuffs), (0.12, seam), (0.15, imprint), (0.15, clutter)):
        if rng.random() < chance:
            nuisance(canvas, rng)


def scuffs(canvas: Canvas, rng: Rng) -> None:
    """Fine faint strokes all over, as on a part that has been handled."""
    count, direction, spread = int(rng.integers(80, 260)), rng.uniform(0, 360), float(rng.choice([8, 40, 360]))
    angles = np.radians(direction + rng.normal(0, spread, count))
    half = rng.uniform(4, 22, (count, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    middle = rng.uniform(0, UNITS, (count, 2))
    strokes = canvas.stroke(np.stack([middle - half, middle + half], 1), 1)
    strokes = strokes._replace(alpha=strokes.alpha * canvas.part[strokes.rows, strokes.cols])
    level = float(canvas.albedo.mean())
    canvas.paint(strokes, np.full(3, 255.0 if level < 120 else 0.0), rng.uniform(0.06, 0.12))


def seam(canvas: Canvas, rng: Rng) -> None:
    """A joint or parting line from edge to edge, straight or evenly curved, single or double."""
    # Thin, lone and crooked it would be a crack.
    across, curved = np.linspace(-240, 240, 61), rng.random() < 0.3
    bow = rng.uniform(-60, 60) if curved else 0.0
    line = np.stack([across, rng.uniform(-70, 70) + bow * (across / 160) ** 2], 1)
    line = turned(line, float(rng.choice([0, 90])), 160, 160)
    double = curved or rng.random() < 0.5
    gap, width = rng.uniform(5, 13), rng.uniform(1.5, 3) if double else rng.uniform(3, 7)
    lines = [line, line + gap] if double else [line]
    joint = canvas.stroke(lines, width)
    joint = joint._replace(alpha=joint.alpha * canvas.part[joint.rows, joint.cols])
    canvas.tint(joint, rng.uniform(0.65, 0.9))
    canvas.lift(joint, rng.uniform(-1.2, 1.2), width / 2)


def imprint(canvas: Canvas, rng: Rng) -> None:
    """A serial number, a bar code, a scale or a round mark, where the part has room for it."""
    small = 80
    free: Any = (cv2.resize(canvas.part, (small, small), interpolation=cv2.INTER_AREA) > 0.95).astype(np.uint8)
    for thing in canvas.components + canvas.prints:
        at = (round(thing.x * small / UNITS), round(thing.y * small / UNITS))
        cv2.circle(free, at, int(thing.radius * 1.3 * small / UNITS) + 2, 0, -1)
    free[[0, -1]] = 0
    free[:, [0, -1]] = 0
    room = cv2.distanceTransform(free, cv2.DIST_L2, 3) * (UNITS / small)
    wide = np.flatnonzero(room > 15)
    if not len(wide):
        return
    index = int(wide[int(rng.random() * len(wide))])
    x, y = (index % small + 0.5) * UNITS / small, (index // small + 0.5) * UNITS / small
    reach = min(float(room.flat[index]) * 0.85, 42.0)
    here = canvas.albedo[:, round(y * canvas.unit), round(x * canvas.unit)]
    ink = here * rng.uniform(0.25, 0.6) if here.mean() > 90 else here + rng.uniform(60, 120)
    kind = int(rng.integers(4))
    if kind == 0:
        word = "".join(rng.choice(list("0123456789ABCDEFHKLNPRSTXZ-"), int(rng.integers(3, 8))))
        marks = canvas.text(word, x, y, min(2.4 * reach / len(word), reach * 0.8), 1.6)
    elif kind == 1:
        edges = np.cumsum(rng.choice([1.3, 1.3, 2.4, 3.4], 40))
        edges = edges[edges < 2 * reach][: 2 * (len(edges[edges < 2 * reach]) // 2)].reshape(-1, 2) - reach
        high = reach * 0.4
        marks = canvas.polygon(
            *([(x + a, y - high), (x + b, y - high), (x + b, y + high), (x + a, y + high)] for a, b in edges)
        )
    elif kind == 2:
        ticks = [
            [(x + at, y), (x + at, y - (9 if k % 5 == 0 else 5))] for k, at in enumerate(np.arange(-reach, reach, 4))
        ]
        marks = canvas.stroke(ticks, 1)
    else:
        r = min(reach, 20) * 0.8
        marks = canvas.polygon(circle(x, y, r), circle(x, y, r * 0.8), turned(circle(0, 0, r * 0.6)[::13], 30, x, y))
    canvas.paint(marks, np.clip(ink, 0, 255), rng.uniform(0.6, 0.95))


def clutter(canvas: Canvas, rng: Rng) -> None:
    """What lies behind the part: a table's edge, stripes, or other things out of focus."""
    off = 1 - canvas.part
    if off.mean() < 0.1:
        return
    old = canvas.background.copy()
    behind = Canvas.blank(old)
    kind = int(rng.integers(3))
    tone = float(old.mean())
    if kind == 0:
        low, high = rng.uniform(-130, 130, 2).tolist()
        side = [[-300, -300], [low, -300], [high, 300], [-300, 300]]
        edge = turned(np.array(side), rng.choice([0, 90, 180, 270]), 160, 160)
        behind.paint(behind.polygon(edge), any_colour(rng))
    elif kind == 1:
        pitch, turn = rng.uniform(12, 40), float(rng.choice([0, 90, rng.uniform(0, 180)]))
        stripes = [turned([[-240, at], [240, at]], turn, 160, 160) for at in np.arange(-240, 240, pitch)]
        behind.paint(behind.stroke(stripes, rng.uniform(1.5, pitch * 0.4)), hsv(rng.random(), 0.1, rng.random()), 0.5)
    else:
        for _ in range(int(rng.integers(2, 6))):
            x, y = spoke(rng.uniform(110, 200), rng.uniform(0, 360))
            behind.paint(
                behind.ellipse(x, y, rng.uniform(25, 90), rng.uniform(25, 90), rng.uniform(0, 180)),
                any_colour(rng),
                0.8,
            )
        blur = rng.uniform(5, 12) * canvas.unit
        behind.albedo = np.stack([cv2.GaussianBlur(plane, (0, 0), blur) for plane in behind.albedo])
    # Behind a part that was told from its background before, too strong a change would hide its outline.
    new = old + np.clip(behind.albedo - old, -70, 70) * (0.5 if 60 < tone < 190 else 0.8)
    canvas.albedo += off * (new - old)
    canvas.background = np.clip(new, 0, 255)


def cast_shadow(rng: Rng, size: int) -> Floats:
    """The light that something outside the picture leaves, of shape (size, size), in (0, 1]."""
    canvas = Canvas.blank(np.ones((3, size, size), np.float32))
    turn, kind = rng.uniform(0, 360), int(rng.integers(3))
    far, slant = rng.uniform(20, 110), rng.uniform(-60, 60)
    if kind == 0:
        dark = canvas.polygon(
            turned(np.array([[far, -400], [far + slant, 400], [600, 400], [600, -400]]), turn, 160, 160)
        )
    elif kind == 1:
        dark = canvas.stroke(turned([[far, -400], [far + slant, 400]], turn, 160, 160), rng.uniform(18, 60))
    else:
        dark = canvas.disc(*spoke(rng.uniform(130, 200), turn), rng.uniform(70, 140))
    canvas.paint(dark, np.zeros(3), rng.uniform(0.15, 0.4))
    return cv2.GaussianBlur(canvas.albedo[0], (0, 0), rng.uniform(2, 9) * canvas.unit)
