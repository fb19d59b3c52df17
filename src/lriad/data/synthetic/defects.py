"""The kinds of defect, each a function that spoils a canvas; the mask is what it changed, so none draws one.

Surface kinds change an assembled canvas in place. Logical kinds return a changed list of components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lriad.data.synthetic.canvas import (
    UNITS,
    Canvas,
    Component,
    Floats,
    Region,
    Rng,
    coloured,
    grid,
    hsv,
    noise,
    spoke,
    wobbly,
)
from lriad.data.synthetic.canvas import turned as rotated

MARGIN = 26.0
"""Defects start at least this far from the image's border, in units, so that no shot loses one."""


def _spot(canvas: Canvas, rng: Rng, inset: float = 4.0) -> tuple[float, float]:
    """A point of the part, where possible `inset` units inside its edge."""
    inside = (canvas.part > 0.5).astype(np.uint8)
    edge = round(MARGIN * canvas.unit)
    frame = np.zeros_like(inside)
    frame[edge:-edge, edge:-edge] = 1
    inside &= frame
    reach = round(inset * canvas.unit)
    inner: Any = cv2.erode(inside, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) if reach else inside
    return _pick(canvas, rng, inner if inner.any() else inside)


def _edge_spot(canvas: Canvas, rng: Rng) -> tuple[float, float]:
    """A point on the part's outline, or on one of its holes' edges."""
    inside = (canvas.part > 0.5).astype(np.uint8)
    rim: Any = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edge = round(MARGIN * 0.7 * canvas.unit)
    frame = np.zeros_like(rim)
    frame[edge:-edge, edge:-edge] = 1
    rim &= frame
    return _pick(canvas, rng, rim if rim.any() else frame)


def _pick(canvas: Canvas, rng: Rng, where: NDArray[np.uint8]) -> tuple[float, float]:
    choices = np.flatnonzero(where)
    index = int(choices[int(rng.random() * len(choices))]) if len(choices) else canvas.size**2 // 2
    row, col = divmod(index, canvas.size)
    return (col + 0.5) / canvas.unit, (row + 0.5) / canvas.unit


def _clip(canvas: Canvas, region: Region) -> Region:
    """The region without what lies off the part."""
    return region._replace(alpha=region.alpha * canvas.part[region.rows, region.cols])


def _local(canvas: Canvas, x: float, y: float, radius: float = 8) -> Floats:
    """The mean colour around a point."""
    last = canvas.size - 1
    col, row = min(max(int(x * canvas.unit), 0), last), min(max(int(y * canvas.unit), 0), last)
    r = max(1, int(radius * canvas.unit))
    return canvas.albedo[:, max(0, row - r) : row + r, max(0, col - r) : col + r].mean((1, 2))


def _contrasting(canvas: Canvas, rng: Rng, x: float, y: float, low: float, high: float) -> Floats:
    """A shade of the local colour, `low` to `high` grey levels darker or lighter, whichever has room."""
    local = _local(canvas, x, y)
    amount = rng.uniform(low, high)
    grey = float(local.mean())
    darker = grey - amount > 5 and (rng.random() < 0.7 or grey + amount > 245)
    if not darker and grey + amount > 250:
        darker = grey > 125
    return np.clip(local + (-amount if darker else amount) + rng.normal(0, 4, 3), 2, 252).astype(np.float32)


def _walk(rng: Rng, x: float, y: float, length: float, bend: float, step: float = 5.0) -> NDArray:
    """A path of shape (N, 2) whose middle is at (x, y) and whose direction drifts by `bend` radians a step."""
    n = max(3, round(length / step))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, n))
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * step, 0)
    return path - path[n // 2] + (x, y)


def _inside_frame(path: NDArray) -> NDArray:
    """The part of a path of shape (N, 2) that lies in the frame that every shot shows."""
    low, high = MARGIN * 0.5, UNITS - MARGIN * 0.5
    inside = path[((path > low) & (path < high)).all(1)]
    return inside if len(inside) > 1 else np.clip(path, low, high)


def _cloudy(canvas: Canvas, rng: Rng, x: float, y: float, radius: float, soft: float) -> Region:
    """An irregular blob with an edge about `soft` units wide."""
    region = canvas.polygon(wobbly(rng, x, y, radius, 0.35))
    alpha = cv2.GaussianBlur(region.alpha, (0, 0), max(0.5, soft * canvas.unit / 2), borderType=cv2.BORDER_CONSTANT)
    return _clip(canvas, region._replace(alpha=alpha * region.alpha))


def scratch(canvas: Canvas, rng: Rng) -> None:
    """One to three long, slightly bent grooves."""
    x, y = _spot(canvas, rng)
    colour = _contrasting(canvas, rng, x, y, 50, 120)
    path = _walk(rng, x, y, rng.uniform(50, 170), 0.05)
    for i in range(int(rng.choice([1, 1, 2, 3]))):
        line = _inside_frame(path[i * len(path) // 6 :] + spoke(i * rng.uniform(4, 9), rng.uniform(0, 360), 0, 0))
        stroke = _clip(canvas, canvas.stroke(line, rng.uniform(1.4, 3.2)))
        canvas.paint(stroke, colour, rng.uniform(0.75, 1))
        canvas.lift(stroke, -0.6, 1)


def crack(canvas: Canvas, rng: Rng) -> None:
    """A jagged dark line with branches."""
    x, y = _spot(canvas, rng)
    local = _local(canvas, x, y)
    dark = local * rng.uniform(0.1, 0.35) if local.mean() > 70 else np.minimum(local + rng.uniform(60, 110), 235)
    path = _walk(rng, x, y, rng.uniform(60, 150), 0.35, step=6)
    width = rng.uniform(1.6, 3.4)
    branches = [(path, width)]
    for _ in range(int(rng.integers(0, 4))):
        start = path[int(rng.integers(1, len(path) - 1))]
        twig = _walk(rng, 0, 0, rng.uniform(20, 55), 0.4, step=5)
        branches.append((twig - twig[0] + start, width * 0.6))
    for line, thickness in branches:
        stroke = _clip(canvas, canvas.stroke(_inside_frame(line), thickness))
        canvas.paint(stroke, dark, 0.95)
        canvas.lift(stroke, -1.0, 1)
        canvas.polish(stroke, 0)


def stain(canvas: Canvas, rng: Rng) -> None:
    """A translucent spot of dried liquid, darker at its rim."""
    x, y = _spot(canvas, rng)
    local = _local(canvas, x, y)
    colour = hsv(
        rng.choice([0.07, 0.1, 0.6, 0.0, 0.3]) + rng.normal(0, 0.03),
        rng.uniform(0.1, 0.7),
        rng.uniform(0.1, 0.5),
    )
    if local.mean() < 75:
        colour = 255 - colour * 0.6
    region = _cloudy(canvas, rng, x, y, rng.uniform(10, 32), 3)
    body = rng.uniform(0.4, 0.8)
    rim = cv2.morphologyEx(region.alpha, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    canvas.paint(region, colour, body)
    canvas.paint(region._replace(alpha=np.clip(rim, 0, 1)), colour, 0.35)
    for _ in range(int(rng.integers(0, 5))):
        dx, dy = rng.normal(0, 24, 2)
        canvas.paint(_cloudy(canvas, rng, x + dx, y + dy, rng.uniform(2, 5), 1.5), colour, body)


def discolouration(canvas: Canvas, rng: Rng) -> None:
    """A soft patch of another colour; the relief goes on underneath."""
    x, y = _spot(canvas, rng)
    region = _cloudy(canvas, rng, x, y, rng.uniform(18, 46), rng.uniform(5, 14))
    local = _local(canvas, x, y, 14)
    shift = rng.uniform(35, 75) * (-1 if local.mean() > 110 else 1)
    tone = np.array(rng.uniform(0.35, 1.0, 3))
    change = (shift * tone / tone.max() + rng.normal(0, 9, 3)).astype(np.float32)
    canvas.albedo[:, region.rows, region.cols] += region.alpha * change[:, None, None]


def burn(canvas: Canvas, rng: Rng) -> None:
    """A charred middle in a brown halo."""
    x, y = _spot(canvas, rng)
    radius = rng.uniform(12, 34)
    halo = _cloudy(canvas, rng, x, y, radius, radius * 0.7)
    core = _cloudy(canvas, rng, x, y, radius * rng.uniform(0.4, 0.65), radius * 0.35)
    if _local(canvas, x, y, radius).mean() < 75:  # On black only the ash shows.
        canvas.paint(halo, hsv(0.08, 0.25, rng.uniform(0.5, 0.7)), 0.85)
    else:
        canvas.tint(halo, hsv(0.07, rng.uniform(0.5, 0.8), rng.uniform(0.45, 0.7)) / 255)
    canvas.paint(core, hsv(0.07, 0.3, rng.uniform(0.03, 0.12)), rng.uniform(0.8, 0.97))
    canvas.polish(halo, 0)


def hole(canvas: Canvas, rng: Rng) -> None:
    """Punched or worn through, one to three times."""
    x, y = _spot(canvas, rng, 9)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        radius = rng.uniform(5, 15)
        region = _clip(canvas, canvas.polygon(wobbly(rng, x, y, radius, rng.uniform(0, 0.25))))
        rim = _clip(canvas, canvas.polygon(wobbly(rng, x, y, radius * 1.25, 0.1)))
        canvas.lift(rim, rng.uniform(-1.5, 1.5), 2.5)
        local = _local(canvas, x, y)
        canvas.cut(region)
        canvas.part[region.rows, region.cols] += region.alpha  # Its shade is painted, not thrown.
        behind = _local(canvas, x, y, 2)
        if abs(float((behind - local).mean())) < 45:
            canvas.paint(region, local * 0.2 if local.mean() > 60 else local + 90)
        else:
            canvas.tint(region, 0.8)
        canvas.lift(region, -3, 3)
        x, y = _spot(canvas, rng, 9)


def dent(canvas: Canvas, rng: Rng) -> None:
    """A dip pressed into the surface: nothing but relief, and the light it catches."""
    x, y = _spot(canvas, rng, 6)
    a, b = rng.uniform(8, 24, 2)
    gx, gy = grid(canvas.size)
    angle = rng.uniform(0, np.pi)
    u = (gx - x) * np.cos(angle) + (gy - y) * np.sin(angle)
    v = (gy - y) * np.cos(angle) - (gx - x) * np.sin(angle)
    r2 = (u / a) ** 2 + (v / b) ** 2
    dip = np.exp(-1.6 * r2) * (1 + 0.15 * noise(rng, canvas.size, 8)) * canvas.part
    depth = rng.uniform(0.7, 1.3) * min(a, b) * canvas.unit
    canvas.height -= (depth * dip).astype(np.float32)
    canvas.albedo *= (1 - rng.uniform(0.15, 0.45) * np.exp(-3 * r2) * canvas.part).astype(np.float32)


def chip(canvas: Canvas, rng: Rng) -> None:
    """A piece broken off the edge; the fracture is rough and of another tone."""
    x, y = _edge_spot(canvas, rng)
    radius = rng.uniform(10, 26)
    outline = wobbly(rng, x, y, radius, 0.3, waves=9)[:: int(rng.integers(2, 5))]
    fracture = _clip(canvas, canvas.polygon((outline - (x, y)) * rng.uniform(1.15, 1.5) + (x, y)))
    tone = _contrasting(canvas, rng, x, y, 35, 90)
    rough = np.clip(1 + 0.12 * noise(rng, canvas.size, 5), 0.5, 1.5)
    canvas.paint(fracture, coloured(tone, rough))
    canvas.lift(fracture, -2.5, 2)
    canvas.polish(fracture, 0.2)
    canvas.cut(_clip(canvas, canvas.polygon(outline)))


def contamination(canvas: Canvas, rng: Rng) -> None:
    """Foreign matter on the surface: grains, flakes, or a fibre."""
    x, y = _spot(canvas, rng)
    if rng.random() < 0.35:
        line = _inside_frame(_walk(rng, x, y, rng.uniform(60, 150), 0.28, step=6))
        width = rng.uniform(1.5, 2.6)
        shadow = canvas.stroke(line + 2.0, width * 1.3)
        colour = _contrasting(canvas, rng, x, y, 70, 140)
        canvas.tint(shadow, 0.72)
        fibre = canvas.stroke(line, width)
        canvas.paint(fibre, colour, 0.95)
        canvas.lift(fibre, 1.2, 1.2)
        return
    colour = hsv(rng.random(), rng.random(), rng.random())
    if abs(float((colour - _local(canvas, x, y)).mean())) < 60:
        colour = _contrasting(canvas, rng, x, y, 70, 130)
    spread = rng.uniform(4, 22)
    for _ in range(int(rng.choice([1, 2, 4, 9]))):
        size = rng.uniform(3.5, 11)
        px, py = np.clip([x + rng.normal(0, spread), y + rng.normal(0, spread)], MARGIN * 0.7, UNITS - MARGIN * 0.7)
        outline = wobbly(rng, px, py, size, 0.4)[:: int(rng.integers(4, 9))]
        canvas.tint(canvas.polygon(outline + 2.2), 0.65)
        grain = canvas.polygon(outline)
        canvas.paint(grain, colour * rng.uniform(0.8, 1.1))
        canvas.lift(grain, size * 0.35, size * 0.5)
        canvas.polish(grain, rng.choice([0.0, 0.5]))


def cut(canvas: Canvas, rng: Rng) -> None:
    """A slit that gapes, with lighter or darker lips."""
    x, y = _spot(canvas, rng, 8)
    length, gape = rng.uniform(30, 85), rng.uniform(3, 8)
    t = np.linspace(-1, 1, 24)
    bow = rng.uniform(-0.12, 0.12) * length
    width = gape * (1 - t**2) * rng.uniform(0.6, 1.3, 24)
    lip = rotated(np.stack([t * length / 2, bow * t**2], 1), angle := rng.uniform(0, 360))
    normal = rotated([[0, 1]], angle)
    upper, lower = lip + normal * width[:, None] / 2, lip - normal * width[:, None] / 2
    outline = _inside_frame(np.concatenate([upper, lower[::-1]]) + np.array([x, y]))
    centre = outline.mean(0)
    local = _local(canvas, x, y)
    edge = _clip(canvas, canvas.polygon((outline - centre) * (1.05, 1.05) + centre + normal * 1.5))
    canvas.paint(edge, np.clip(local + (45 if local.mean() < 170 else -45), 0, 255), 0.8)
    slit = _clip(canvas, canvas.polygon(outline))
    canvas.paint(slit, local * 0.18 if local.mean() > 70 else local + 80, 0.95)
    canvas.lift(slit, -3, 3)
    canvas.polish(slit, 0)


def thread(canvas: Canvas, rng: Rng) -> None:
    """A thread pulled out of its cloth, lying in loops on it."""
    x, y = _spot(canvas, rng)
    line = _inside_frame(_walk(rng, x, y, rng.uniform(70, 170), 0.45, step=6))
    width = rng.uniform(2.4, 4.5)
    canvas.tint(_clip(canvas, canvas.stroke(line + 2.7, width * 1.3)), 0.45)
    yarn = _clip(canvas, canvas.stroke(line, width))
    canvas.paint(yarn, _contrasting(canvas, rng, x, y, 40, 90), 0.95)
    canvas.lift(yarn, 2.5, 2)


def abrasion(canvas: Canvas, rng: Rng) -> None:
    """A rubbed patch: many fine strokes in about one direction."""
    x, y = _spot(canvas, rng, 8)
    colour = _contrasting(canvas, rng, x, y, 45, 95)
    direction = rng.uniform(0, 360)
    radius = rng.uniform(12, 28)
    for _ in range(int(radius * 2.2)):
        middle = np.array([x, y]) + rng.normal(0, radius * 0.45, 2)
        half = np.array(spoke(rng.uniform(4, 12), direction + rng.normal(0, 9), 0, 0))
        line = _inside_frame(np.stack([middle - half, middle + half]))
        canvas.paint(_clip(canvas, canvas.stroke(line, 1.3)), colour, rng.uniform(0.35, 0.8))


def bent(canvas: Canvas, rng: Rng) -> None:
    """A place pulled out of shape."""
    x, y = _edge_spot(canvas, rng)
    reach = rng.uniform(28, 52)
    push = spoke(rng.uniform(0.3, 0.5) * reach, rng.uniform(0, 360), 0, 0)
    gx, gy = grid(canvas.size)
    fall = np.exp(-2.2 * ((gx - x) ** 2 + (gy - y) ** 2) / reach**2).astype(np.float32)
    u = canvas.unit
    map_x, map_y = (gx - push[0] * fall) * u - 0.5, (gy - push[1] * fall) * u - 0.5
    for plane in (*canvas.albedo, canvas.height, canvas.gloss, canvas.part):
        plane[:] = cv2.remap(plane, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def missing(things: Sequence[Component], canvas: Canvas, rng: Rng) -> list[Component]:
    """One component is not there."""
    lost = int(rng.integers(len(things)))
    return [thing for i, thing in enumerate(things) if i != lost]


def extra(things: Sequence[Component], canvas: Canvas, rng: Rng) -> list[Component]:
    """One component too many, lying where none belongs."""
    model = things[int(rng.integers(len(things)))]
    best, best_gap = (model.x + model.radius, model.y), -np.inf
    for _ in range(12):
        x, y = _spot(canvas, rng)
        gap = min(float(np.hypot(x - t.x, y - t.y)) - t.radius for t in things)
        if gap > best_gap:
            best, best_gap = (x, y), gap
    return [*things, replace(model, x=best[0], y=best[1], angle=model.angle + rng.uniform(10, 350))]


def misplaced(things: Sequence[Component], canvas: Canvas, rng: Rng) -> list[Component]:
    """One component sits beside its place, or turned."""
    moved = int(rng.integers(len(things)))
    thing = things[moved]
    x, y = spoke(thing.radius * rng.uniform(0.45, 1.0), rng.uniform(0, 360), thing.x, thing.y)
    turn = rng.choice([-1, 1]) * rng.uniform(15, 75)
    return [replace(t, x=x, y=y, angle=t.angle + turn) if i == moved else t for i, t in enumerate(things)]


def turned(things: Sequence[Component], canvas: Canvas, rng: Rng) -> list[Component]:
    """One component points another way, in its right place."""
    wrong = int(rng.integers(len(things)))
    turn = rng.choice([-1, 1]) * rng.uniform(45, 180)
    return [replace(t, angle=t.angle + turn) if i == wrong else t for i, t in enumerate(things)]


def swapped(things: Sequence[Component], canvas: Canvas, rng: Rng) -> list[Component]:
    """Two components that look different have changed places."""
    first = int(rng.integers(len(things)))
    others = [i for i in _nearest(things, first) if things[i].look != things[first].look]
    second = others[int(rng.integers(min(2, len(others))))]  # Near each other, so that one place names both.
    a, b = things[first], things[second]
    changed = list(things)
    changed[first] = replace(b, x=a.x, y=a.y, angle=a.angle)
    changed[second] = replace(a, x=b.x, y=b.y, angle=b.angle)
    return changed


def miscount(things: Sequence[Component], canvas: Canvas, rng: Rng) -> list[Component]:
    """Two to four neighbouring components are not there, or, less often, as many lie where none belongs."""
    count = int(rng.integers(2, max(2, min(4, len(things) // 2)) + 1))
    if rng.random() < 0.7:
        first = int(rng.integers(len(things)))
        lost = {first, *_nearest(things, first)[: count - 1]}
        return [thing for i, thing in enumerate(things) if i not in lost]
    more = extra(things, canvas, rng)
    while len(more) < len(things) + count:
        last = more[-1]
        x, y = np.clip(spoke(last.radius * rng.uniform(2, 2.8), rng.uniform(0, 360), last.x, last.y), 30, 290)
        more.append(replace(last, x=float(x), y=float(y), angle=last.angle + rng.uniform(10, 350)))
    return more


def _nearest(things: Sequence[Component], index: int) -> list[int]:
    """The other components, the nearest first."""
    at = things[index]
    distances = [np.hypot(t.x - at.x, t.y - at.y) for t in things]
    return [int(i) for i in np.argsort(distances, kind="stable") if i != index]


def misprint(things: Sequence[Component], canvas: Canvas, rng: Rng) -> list[Component]:
    """A mark of the print is missing, doubled or out of line."""
    i = int(rng.integers(len(things)))
    mark = things[i]
    x, y = spoke(mark.radius * rng.uniform(0.25, 0.6), rng.uniform(0, 360), mark.x, mark.y)
    away = replace(mark, x=x, y=y, angle=mark.angle + rng.uniform(-30, 30))
    others = [t for j, t in enumerate(things) if j != i]
    return [others, [*others, away], [*things, away]][int(rng.integers(3))]


SURFACE: dict[str, Callable[[Canvas, Rng], None]] = {
    f.__name__: f
    for f in (
        scratch,
        crack,
        stain,
        discolouration,
        burn,
        hole,
        dent,
        chip,
        contamination,
        cut,
        thread,
        abrasion,
        bent,
    )
}
SMALLER = tuple(kind for kind in SURFACE if kind not in ("bent", "dent", "discolouration"))
"""The surface kinds that `smaller` draws; the others run out softly, and would not show so small."""


def smaller(canvas: Canvas, kind: str, rng: Rng) -> None:
    """A surface defect of a third to two thirds of its size: it is drawn on a window, as on a whole canvas."""
    share = rng.uniform(0.3, 0.65)
    x, y = _edge_spot(canvas, rng) if kind == "chip" else _spot(canvas, rng)
    side, room = round(share * canvas.size), round((1 - share) * MARGIN * canvas.unit)
    left, top = (int(np.clip(at * canvas.unit - side / 2, room, canvas.size - room - side)) for at in (x, y))
    planes = ("albedo", "background", "height", "gloss", "part")
    views = {name: getattr(canvas, name)[..., top : top + side, left : left + side] for name in planes}
    before = {name: view.copy() for name, view in views.items()}
    SURFACE[kind](replace(canvas, **views), rng)
    # Whatever reaches beyond the window fades out at its border.
    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) * np.float32(UNITS / side / 20)
    fade = np.minimum(np.minimum.outer(ramp, ramp), 1).astype(np.float32)
    for name, view in views.items():
        view[:] = before[name] + fade * (view - before[name])


LOGICAL: dict[str, Callable[[Sequence[Component], Canvas, Rng], list[Component]]] = {
    f.__name__: f for f in (missing, extra, misplaced, turned, swapped, miscount)
}
