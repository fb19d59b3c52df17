"""The `parts` family's keyed goods: sound parts whose clean notches, ears, slots, odd holes and ribs are no fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lriad.data.synthetic.canvas import (
    Canvas,
    Component,
    Floats,
    Region,
    Rng,
    Stamp,
    any_colour,
    circle,
    coloured,
    hsv,
    rounded_box,
    spoke,
    turned,
)
from lriad.data.synthetic.goods import darker, depth_within
from lriad.data.synthetic.materials import against, backdrop, finish, grainy
from lriad.data.synthetic.mixtures import any_word, bar_at, board_device, on_part, writing_at

Find = Callable[[float], "tuple[float, float] | None"]
"""A free place on the part with that much room around it, taken from then on."""

_SIGNS = [*"ABCDEFGHKLMNOPRSTUVXYZ0123456789"]
_RIGHT = [0.0, 0.0, 90.0, 180.0, 270.0]


def _cornered(rng: Rng, a: float, b: float, plain: float = 0.5) -> NDArray:
    """A rectangle of 2 a by 2 b whose corners are square, or each bevelled, stepped, hollow or round."""
    points: list[NDArray] = []
    alike, sort, same = rng.random() < 0.3, int(rng.integers(4)), rng.uniform(0.1, 0.6) * min(a, b)
    for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        kind, m = (sort, same) if alike else (int(rng.integers(4)), rng.uniform(0.1, 0.65) * min(a, b))
        corner, inner, sign = np.array([sx * a, sy * b]), np.array([sx * (a - m), sy * (b - m)]), np.array([sx, sy])
        t = np.radians(np.linspace(0, 90, 12))
        arc = np.stack([np.cos(t), np.sin(t)], 1)
        first, last = np.array([sx * a, sy * (b - m)]), np.array([sx * (a - m), sy * b])
        if not alike and rng.random() < plain:
            cut = corner[None]
        else:
            cut = (
                np.stack([first, last]),
                np.stack([first, inner, last]),
                corner - m * sign * arc[:, ::-1],
                inner + m * sign * arc,
            )[kind]
        points.append(cut if sx * sy > 0 else cut[::-1])
    return np.concatenate(points)


def _base(rng: Rng, a: float, b: float) -> NDArray:
    """Any clean outline within 2 a by 2 b around the origin."""
    s, t, u = rng.uniform(0.3, 0.7, 3)
    n, kind = int(rng.integers(5, 9)), int(rng.integers(12))
    if kind < 5:
        return _cornered(rng, a, b)
    if kind == 5:
        return rounded_box(2 * a, 2 * b, rng.uniform(0.2, 1) * min(a, b))
    if kind == 6:
        return circle(0, 0, 1) * ((min(a, b),) * 2 if rng.random() < 0.6 else (a, b))
    outline = (
        lambda: [[-1, -1], [1, -1], [1, 2 * s - 1], [2 * t - 1, 2 * s - 1], [2 * t - 1, 1], [-1, 1]],
        lambda: [[-1, -1], [1, -1], [1, 1 - s], [t, 1 - s], [t, 1], [-u, 1], [-u, 1 - s], [-1, 1 - s]],
        lambda: [[-1, -1], [-s, -1], [-s, t - 0.6], [u, t - 0.6], [u, -1], [1, -1], [1, 1], [-1, 1]],
        lambda: [[-s, -1], [t, -1], [1, u - 0.5], [1, 1], [-1, 1], [-1, 0.2]],
        lambda: [spoke(1, 360 * i / n, 0, 0) for i in range(n)],
    )[kind - 7]()
    return turned(np.array(outline, float), float(rng.choice([0, 90, 180, 270]))) * (a, b)


def _tooth(rng: Rng, wide: float, deep: float) -> NDArray:
    """The outline of an ear on an edge, x outwards; mirrored, of a notch."""
    h, back = wide / 2, -4.0
    t = np.radians(np.linspace(-90, 90, 14))
    arc = np.stack([np.cos(t), np.sin(t)], 1)
    kind, k = int(rng.integers(9)), rng.uniform(0.4, 0.8)
    if kind == 4:
        return np.concatenate([[[back, -h]], arc * (min(deep, h), h) + (deep - min(deep, h), 0), [[back, h]]])
    if kind == 5:
        return np.concatenate([[[back, -h]], arc * (h * k, h), [[back, h]]])
    if kind == 6:
        head = circle(0, 0, h)[[*range(23, 40), *range(18)]] + (deep, 0)
        return np.concatenate([[[back, -h * 0.5]], head, [[back, h * 0.5]]])
    neck = [[back, h * k], [deep / 2, h * k], [deep / 2, h], [deep, h]]
    shapes = (
        [[back, -h], [deep, -h], [deep, h], [back, h]],
        [[back, -h], [0, -h], [deep, -h * k], [deep, h * k], [0, h], [back, h]],
        [[back, -h * k], [0, -h * k], [deep, -h], [deep, h], [0, h * k], [back, h * k]],
        [[back, -h], [0, -h], [deep, (k - 0.6) * h], [0, h], [back, h]],
        [],
        [],
        [],
        [[back, -h], [deep, -h], [deep, 0], [deep * k, 0], [deep * k, h], [back, h]],
        [*([x, -y] for x, y in neck), *neck[::-1]],
    )[kind]
    return np.array(shapes, float)


def _edge(rng: Rng, outline: NDArray, wide: float) -> tuple[float, float, float]:
    """A point of an outline, on an edge that is long enough where there is one, and the direction outwards."""
    runs = np.roll(outline, -1, 0) - outline
    long = np.hypot(*runs.T) + 1e-6
    i = int(rng.choice(len(long), p=long / long.sum()))
    slack = max(0.0, 0.5 - 0.6 * wide / float(long[i]))
    x, y = outline[i] + runs[i] * (0.5 + (rng.uniform(-slack, slack) if rng.random() < 0.7 else 0))
    following = np.roll(outline, -1, 0)
    area = float((outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]).sum())
    out = float(np.degrees(np.arctan2(runs[i, 1], runs[i, 0]))) - (90 if area > 0 else -90)
    return float(x), float(y), out


def _opening(rng: Rng, r: float) -> NDArray:
    """The outline of a hole of any clean shape that fits into a circle, turned."""
    k, n, kind = rng.uniform(0.3, 0.75), int(rng.integers(3, 9)), int(rng.integers(11))
    ring = circle(0, 0, r)
    if kind < 2:
        points = ring
    elif kind < 4:
        points = rounded_box(2 * r, 2 * r * k * 0.7, r if kind == 2 else r * k * 0.2)
    elif kind == 4:  # Flat on one side, or on two.
        points = np.clip(ring, (-r if k < 0.55 else -r * k, -r), (r * k, r))
    elif kind == 5:
        points = turned(np.array([spoke(r, 360 * i / n, 0, 0) for i in range(n)]), 180 / n)
    elif kind == 6:  # A bore with a keyway.
        points = np.concatenate([ring[3:38] * 0.75, [[r, -r * 0.25], [r, r * 0.25]]])
    elif kind == 7:  # A keyhole.
        points = np.concatenate([ring[5:36] * 0.6 - (r * 0.4, 0), [[r, -r * 0.2], [r, r * 0.2]]])
    elif kind == 8:  # A bent slot.
        bow = np.array([spoke(1, at, 0, 0) for at in np.linspace(-60, 60, 16)])
        points = np.concatenate([bow * r, bow[::-1] * r * (0.45 + 0.4 * k)]) - (r * 0.4, 0)
    elif kind == 9:
        arm = r * k * 0.6
        points = np.array([[-r, -arm], [-arm, -arm], [-arm, -r], [arm, -r], [arm, -arm], [r, -arm]])
        points = np.concatenate([points, -points])
    else:
        points = np.array([[-0.9, -0.5], [0.9, -0.5 * k], [0.9, 0.5 * k], [-0.9, 0.5]]) * r
    return turned(points, float(rng.choice([*_RIGHT, rng.uniform(0, 360)])))


def _solid(
    c: Canvas, adds: Sequence[NDArray], cuts: Sequence[NDArray], fillet: float = 0.0, joined: bool = True
) -> Region:
    """What is within any of the first outlines and none of the second, its corners rounded off."""
    whole = np.zeros((c.size, c.size), np.float32)
    for outline in adds:
        region = c.polygon(outline)
        view = whole[region.rows, region.cols]
        np.maximum(view, region.alpha, out=view)
    for outline in cuts:
        region = c.polygon(outline)
        whole[region.rows, region.cols] *= 1 - region.alpha
    sigma = fillet * c.unit
    if sigma > 0.5:
        soft: Floats = cv2.GaussianBlur(whole, (0, 0), sigma)
        whole = np.clip((soft - 0.5) * np.float32(2.5 * sigma) + 0.5, 0, 1)
    return Region(slice(0, c.size), slice(0, c.size), _joined(whole) if joined else whole)


def _joined(alpha: Floats) -> Floats:
    """The largest piece of what may have been cut into several."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.1).astype(np.uint8))
    if count < 3:
        return alpha
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return (alpha * (labels == largest)).astype(np.float32)


def _raise(c: Canvas, region: Region, amount: float, bevel: float) -> None:
    """`Canvas.lift` with a rim that is smooth on slanting and round edges too."""
    rise = np.sin(np.minimum(depth_within(c, region) / np.float32(bevel), 1) * np.float32(np.pi / 2))
    c.height[region.rows, region.cols] += rise * region.alpha * np.float32(amount * c.unit)


def _lay(c: Canvas, region: Region, colour: ArrayLike, lift: float, bevel: float, gloss: float) -> None:
    """`Canvas.place` with such a rim."""
    c.place(region, colour, lift=0, gloss=gloss)
    _raise(c, region, lift, bevel)


def _finder(c: Canvas, rng: Rng, region: Region, margin: float = 4.0) -> Find:
    """Finds free places inside a region of the whole canvas."""
    depth, taken = depth_within(c, region), list[tuple[float, float, float]]()

    def find(need: float) -> tuple[float, float] | None:
        free = np.flatnonzero(depth > need + margin)
        for i in rng.choice(free, 20) if len(free) else ():
            row, col = divmod(int(i), depth.shape[1])
            x, y = (col + 0.5) / c.unit, (row + 0.5) / c.unit
            if all(np.hypot(x - p, y - q) > need + s + margin for p, q, s in taken):
                taken.append((x, y, need))
                return x, y
        return None

    return find


def _keys(rng: Rng, outline: NDArray, reach: float, count: int, ears: float) -> tuple[list[NDArray], list[NDArray]]:
    """Ears to add to an outline and notches to cut from it (and holes in ears), up to about `reach` wide."""
    adds, cuts = list[NDArray](), list[NDArray]()
    for _ in range(count):
        wide = max(9.0, rng.uniform(0.25, 1) * reach)
        deep = min(wide * rng.uniform(0.4, 1.4), reach * 0.8)
        x, y, out = _edge(rng, outline, wide)
        tooth = _tooth(rng, wide, deep)
        if rng.random() < ears:
            adds.append(turned(tooth, out, x, y))
            if wide > 16 and deep > 12 and rng.random() < 0.5:
                cuts.append(circle(*spoke(deep * 0.5, out, x, y), min(wide, deep) * 0.22))
        else:
            cuts.append(turned(tooth * (-1, 1), out, x, y))
    return adds, cuts


def _layout(rng: Rng, most: int) -> tuple[list[tuple[float, float]], float, float]:
    """Centres of one or several parts, and half of the room of each."""
    nx, ny = ((1, 1), (1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (3, 2))[int(rng.integers(min(8, most + 3)))]
    cells = [
        (160 + (i % nx - (nx - 1) / 2) * 268 / nx, 160 + (i // nx - (ny - 1) / 2) * 268 / ny) for i in range(nx * ny)
    ]
    return cells, 134 / nx, 134 / ny


def _metal(rng: Rng) -> Floats:
    return hsv(rng.choice([0.11, 0.07, 0.6, 0.6]), rng.uniform(0, 0.55), rng.uniform(0.45, 0.95))


def stamped_bracket(rng: Rng, size: int) -> Canvas:
    """Flat sheet-metal parts of free outline, with notches, ears, unlike holes, beads, bends and countersinks."""
    c = Canvas.blank(backdrop(rng, size))
    cells, room_x, room_y = _layout(rng, 3)
    alike, fillet, gloss = rng.random() < 0.4, float(rng.choice([0.8, rng.uniform(1, 5)])), rng.uniform(0, 0.8)
    plans = list[tuple[NDArray, list[NDArray], list[NDArray]]]()
    colour = _metal(rng) if rng.random() < 0.5 else against(rng, c.background)
    if abs(float(colour.mean() - c.background.mean())) < 40:
        colour = against(rng, c.background)
    sheet = coloured(colour, finish(rng, size))
    for k, (x, y) in enumerate(cells):
        if not (k and alike):
            a, b = room_x * rng.uniform(0.55, 0.86), room_y * rng.uniform(0.5, 0.86)
            outline = _base(rng, a, b)
            plans.append((outline, *_keys(rng, outline, min(a, b) * 0.55, int(rng.choice([1, 1, 2, 3, 5])), 0.35)))
        outline, adds, cuts = plans[-1]
        at = np.array([x, y])
        body = _solid(c, [o + at for o in (outline, *adds)], [o + at for o in cuts], fillet)
        _lay(c, body, sheet, rng.uniform(2, 5), rng.uniform(1, 2.5), gloss)
        find, reach = _finder(c, rng, body), min(room_x, room_y)
        for _ in range(int(rng.integers(0, 3))):  # A bend: one straight line, beyond which the sheet faces elsewhere.
            px, py, out = _edge(rng, outline + at, 40)
            far = spoke(-rng.uniform(0.15, 0.4) * reach, out, px, py)
            line = np.stack([spoke(300, out + 90, *far), spoke(-300, out + 90, *far)])
            beyond = c.polygon(np.concatenate([line, line[::-1] + np.array(spoke(300, out, 0, 0))]))
            own = body.alpha[beyond.rows, beyond.cols]
            c.tint(beyond._replace(alpha=beyond.alpha * own), rng.choice([rng.uniform(0.75, 0.92), 1.12]))
            fold = c.stroke(line, rng.uniform(2, 5))
            c.tint(fold._replace(alpha=fold.alpha * body.alpha[fold.rows, fold.cols]), rng.uniform(0.75, 0.9))
        for _ in range(int(rng.integers(0, 7))):
            r = rng.choice([rng.uniform(3, 8), rng.uniform(0.08, 0.32) * reach])
            if spot := find(r):
                style = int(rng.integers(4))
                if style == 0:  # A countersink, or a collar that was drawn out.
                    ring = c.disc(*spot, r)
                    _raise(c, ring, rng.choice([-1, 1]) * r * 0.25, r * 0.5)
                    c.tint(ring, rng.uniform(0.8, 0.95))
                c.cut(c.disc(*spot, r * 0.55) if style == 0 else c.polygon(_opening(rng, r) + np.array(spot)))
        for _ in range(int(rng.integers(0, 3))):  # Beads.
            r, angle = rng.uniform(0.15, 0.5) * reach, float(rng.choice(_RIGHT))
            if spot := find(r):
                hollow, wide = rng.random() < 0.3, rng.uniform(0.2, 0.45) * r
                bead = c.disc(*spot, r, r - wide) if hollow else c.box(*spot, 2 * r, wide, angle, wide)
                _raise(c, bead, rng.choice([-1, 1]) * rng.uniform(1.5, 3), wide / 2)
        height = rng.uniform(6, 12)
        if rng.random() < 0.4 and (spot := find(height * 1.4)):
            words = on_part(c, c.text(any_word(rng, 2, 3, _SIGNS), *spot, height, 1.5))
            c.paint(words, darker(colour, 0.55), 0.9)
            c.lift(words, -0.8, 0.8)
    return c


def _contacts(rng: Rng, metal: Floats) -> Stamp:
    """The contact field of a chip card."""
    at = np.linspace(-22, 22, int(rng.integers(3, 6)))[1:-1]

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.box(x, y, 52, 44, angle, 8), metal, lift=0.8, bevel=1.5, gloss=0.5)
        rows = [turned([[side * 26, v], [side * 8, v]], angle, x, y) for v in at for side in (-1, 1)]
        canvas.tint(canvas.stroke(rows, 1.5), 0.4)
        frame = [turned(rounded_box(w, w + 12, 4), angle, x, y) for w in (18, 15)]
        canvas.tint(canvas.polygon(*frame), 0.4)

    return draw


def _label(c: Canvas, rng: Rng, w: float, h: float, x: float, y: float, turn: float) -> None:
    """A label of half width `w` and half height `h`, with print."""
    paper, word = any_colour(rng, (0.3, 0.98)), any_word(rng, 2, 6, _SIGNS)
    c.place(c.polygon(turned(_cornered(rng, w, h), turn, x, y)), paper, lift=0.6, bevel=1)
    c.paint(c.box(*spoke(-h * 0.5, turn + 90, x, y), 1.5 * w, h * 0.25, turn), any_colour(rng), 0.9)
    tall = min(h * 0.45, 2 * w / len(word))
    c.paint(writing_at(c, word, *spoke(h * 0.3, turn + 90, x, y), tall, 1.5, turn), against(rng, paper), 0.9)


def edge_card(rng: Rng, size: int) -> Canvas:
    """Cards, cartridges and memory sticks: notches, cut corners, edge contacts with a gap, chips, label, holes."""
    c = Canvas.blank(backdrop(rng, size))
    a, b = rng.uniform(75, 134), rng.uniform(45, 130)
    turn, board, gloss = float(rng.choice([0, 90, 180, 270])), against(rng, c.background), rng.uniform(0, 0.6)
    metal, at = hsv(rng.choice([0.12, 0.12, 0.6]), rng.uniform(0.1, 0.6), rng.uniform(0.65, 0.95)), np.array([160, 160])

    def put(points: NDArray) -> NDArray:
        return turned(points, turn) + at

    def box(x: float, y: float, w: float, h: float, radius: float = 0.0) -> Region:
        return c.polygon(put(bar_at(w, h, radius, x, y)))

    outline, chip, stick = _cornered(rng, a, b, 0.65), rng.random() < 0.25, rng.random() < 0.55
    sides = outline if not stick else outline[outline[:, 1] < b * 0.2]  # With fingers below, other sides are notched.
    adds, cuts = _keys(rng, sides, min(a, b) * 0.4, int(rng.choice([0, 1, 1, 2, 3])), 0.1)
    low, high, keys = -a * rng.uniform(0.6, 0.92), a * rng.uniform(0.6, 0.92), list[float]()
    if stick:
        keys = rng.uniform(low * 0.8, high * 0.8, int(rng.choice([0, 1, 1, 2]))).tolist()
        cuts += [bar_at(rng.uniform(5, 11), 2 * (deep := rng.uniform(8, 24)), min(4.0, deep), x, b) for x in keys]
    body = _solid(c, [put(o) for o in (outline, *adds)], [put(o) for o in cuts], float(rng.choice([0.8, 1, 2.5])))
    _lay(c, body, coloured(board, grainy(rng, size, rng.uniform(0.003, 0.04))), 4, 2, gloss)
    area = _solid(c, [put(bar_at(2 * a, 2 * b - 34, 0, 0, -15))], [])
    find = _finder(c, rng, area._replace(alpha=area.alpha * body.alpha), 5)
    pitch, long, inset = rng.uniform(7, 15), rng.uniform(12, 24), rng.uniform(1, 6)
    finger, gap, short = pitch * rng.uniform(0.55, 0.75), rng.uniform(0.6, 1.6) * pitch, int(rng.integers(1, 9))
    if stick:
        keys += [rng.uniform(low, high)] if rng.random() < 0.3 else []
        if rng.random() < 0.4:
            c.tint(box((low + high) / 2, b - long / 2 - inset, high - low + pitch, long + 6), 0.85)
        for i, x in enumerate(np.arange(low, high, pitch)):
            if all(abs(x - key) > gap + 4 for key in keys):
                reach = long * (0.75 if i % 9 == short else 1)
                c.place(
                    on_part(c, box(x, b - inset - reach / 2, finger, reach, 1.5)), metal, lift=0.7, bevel=1, gloss=0.5
                )
    ridges = int(rng.integers(4, 9))
    if rng.random() < 0.35:  # A grip of ridges.
        for i in range(ridges):
            c.lift(on_part(c, box(0, -b + 8 + 4.5 * i, a * 0.9, 2.4, 1)), 1.5, 1.2)
        area = _solid(c, [put(bar_at(2 * a, 2 * b - 50 - 5 * ridges, 0, 0, ridges * 2.5 - 6))], [])
        find = _finder(c, rng, area._replace(alpha=area.alpha * body.alpha), 4)
    ink = against(rng, board)
    if chip and (spot := find(27)):
        c.tint(c.box(*spot, 53, 45, turn, 8), 0.6)
        c.components.append(Component(_contacts(rng, metal), *spot, 22, turn))
    for _ in range(int(rng.integers(0, 3))):  # Windows, punched holes, a thumb's hollow.
        r = rng.uniform(5, 22)
        if spot := find(r):
            region = c.polygon(_opening(rng, r) + np.array(spot))
            if rng.random() < 0.6:
                c.cut(region)
            else:
                c.lift(region, -2.5, 2)
                c.tint(region, 0.85)
    for _ in range(int(rng.integers(1, 3))):
        w, h = rng.uniform(0.3, 0.7) * a, rng.uniform(0.25, 0.45) * b
        if rng.random() < 0.7 and (spot := find(float(np.hypot(w, h)) * 0.9)):
            _label(c, rng, w, h, *spot, turn)
    seat, kinds = darker(board, 0.7), [0, 0, 4, 5, 6, 2] if board.mean() < 235 else [5, 6]
    wanted = int(rng.integers(1, 7))
    for i in range(12):
        if len(c.components) >= wanted:
            break
        w = rng.uniform(26, 56) / (1 + 0.12 * i)
        h = w * rng.uniform(0.5, 1)
        if spot := find(np.hypot(w, h) / 2):
            c.paint(c.box(*spot, w, h, turn), seat)
            stamp = board_device(rng, int(rng.choice(kinds)), w, h, seat, metal)
            c.components.append(Component(stamp, *spot, max(min(w, h) / 2, 9), turn))
    if not c.components:
        c.paint(c.disc(160, 160, 15), seat)
        c.components.append(Component(board_device(rng, 5, 30, 26, seat, metal), 160, 160, 14, turn))
    if rng.random() < 0.6 and (spot := find(10)):
        c.paint(writing_at(c, any_word(rng, 2, 4, _SIGNS), *spot, 7, 1.3, turn), ink, 0.9)
    if rng.random() < 0.4 and (spot := find(8)):  # Which way it goes in.
        arrow = np.array([[-6, -5], [6, -5], [0, 6]])
        c.paint(c.polygon(turned(arrow, turn) + np.array(spot)), ink, 0.9)
    return c


def gasket_sheet(rng: Rng, size: int) -> Canvas:
    """Flat gaskets and seals with unlike openings, ears, bolt holes and sealing beads."""
    c = Canvas.blank(backdrop(rng, size))
    cells, room_x, room_y = _layout(rng, 5)
    stuff = int(rng.integers(5))
    colour = (
        lambda: hsv(rng.random(), rng.uniform(0, 0.1), rng.uniform(0.06, 0.25)),
        lambda: hsv(rng.uniform(0.06, 0.1), rng.uniform(0.35, 0.6), rng.uniform(0.5, 0.8)),
        lambda: hsv(rng.uniform(0.03, 0.07), rng.uniform(0.4, 0.65), rng.uniform(0.6, 0.85)),
        lambda: any_colour(rng),
        lambda: any_colour(rng),
    )[stuff]()
    if abs(float(colour.mean() - c.background.mean())) < 40:
        colour = against(rng, c.background)
    grain = grainy(rng, size, rng.uniform(0.06, 0.12), 1.2) if stuff == 1 else grainy(rng, size, rng.uniform(0, 0.05))
    gloss, sheet, thick = (0.6 if stuff == 2 else rng.uniform(0, 0.3)), coloured(colour, grain), rng.uniform(1.5, 5)
    for x, y in cells:
        a, b, at = room_x * rng.uniform(0.55, 0.76), room_y * rng.uniform(0.55, 0.76), np.array([x, y])
        reach = min(a, b)
        outline, adds, cuts = _base(rng, a, b), list[NDArray](), list[NDArray]()
        bolt = rng.uniform(0.07, 0.13) * reach
        for i in range(
            int(rng.choice([0, 0, 2, 3, 4, 6]))
        ):  # Round ears with bolt holes, one of them now and then odd.
            px, py, out = _edge(rng, outline, 3 * bolt)
            adds.append(turned(bar_at(5 * bolt, 4.4 * bolt, 2.2 * bolt, 0, 0), out, px, py))
            cuts.append(circle(*spoke(0.2 * bolt, out, px, py), bolt * (1.35 if i == 1 else 1)))
        more, fewer = _keys(rng, outline, reach * 0.4, int(rng.choice([0, 1, 1, 2, 3])), 0.4)
        body = _solid(c, [o + at for o in (outline, *more)], [o + at for o in fewer], rng.uniform(0.5, 5))
        ears = _solid(c, [o + at for o in adds], [], joined=False)
        np.maximum(body.alpha, ears.alpha, out=body.alpha)
        depth, frame, holes = depth_within(c, body), list[NDArray](), np.zeros_like(body.alpha)
        wide = rng.uniform(0.22, 0.4) * reach
        if rng.random() < 0.5:  # A frame, with or without webs.
            holes = np.clip((depth - np.float32(wide)) * np.float32(c.unit) + 0.5, 0, 1)
            for _ in range(int(rng.integers(0, 3))):
                angle, web = float(rng.choice([0, 90, rng.uniform(0, 180)])), rng.uniform(0.12, 0.25) * reach
                frame.append(turned(bar_at(600, web, 0, 0, rng.uniform(-0.4, 0.4) * reach), angle, x, y))
            holes = holes * (1 - _solid(c, frame, [], joined=False).alpha) if frame else holes
            soft = cv2.GaussianBlur(holes, (0, 0), 2.2 * c.unit)
            holes = np.clip((soft - 0.5) * np.float32(5.5 * c.unit) + 0.5, 0, 1)
        holes = np.maximum(holes, _solid(c, [o + at for o in cuts], [], joined=False).alpha)
        # The lands that are left take smaller openings.
        find = _finder(c, rng, body._replace(alpha=body.alpha * (1 - holes)), max(3.0, 0.06 * reach))
        for share in (
            *rng.uniform(0.3, 0.6, int(rng.integers(1, 4))),
            *rng.uniform(0.07, 0.25, int(rng.integers(0, 9))),
        ):
            if spot := find(share * reach):
                region = c.polygon(_opening(rng, share * reach) + np.array(spot))
                view = holes[region.rows, region.cols]
                np.maximum(view, region.alpha, out=view)
        body = body._replace(alpha=_joined(body.alpha * (1 - holes)))
        _lay(c, body, sheet, thick, min(thick, 2), gloss)
        if rng.random() < 0.6:  # A bead that follows every edge.
            far, bead = np.abs(depth_within(c, body) - np.float32(rng.uniform(3.5, 8))), rng.uniform(1.2, 2.5)
            line = body._replace(alpha=np.clip((bead - far) * np.float32(c.unit) + 0.5, 0, 1).astype(np.float32))
            c.lift(line, rng.choice([-1, 1]) * bead, bead)
            c.paint(line, colour * 0.8 if rng.random() < 0.6 else any_colour(rng), 0.8)
        if rng.random() < 0.25 and (spot := find(8)):
            c.paint(on_part(c, c.text(any_word(rng, 2, 2, _SIGNS), *spot, 7, 1.3)), darker(colour, 0.5), 0.9)
    return c


def _bits(rng: Rng, start: float, end: float, y: float, deep: float) -> list[list[float]]:
    """A stepped edge from one x to another, `deep` at most, clean but without any order."""
    n, style, levels = int(rng.integers(2, 9)), int(rng.integers(4)), int(rng.integers(2, 5))
    at, points = np.linspace(start, end, n + 1), [[start, y]]
    for left, right, cut in zip(at[:-1], at[1:], rng.integers(0, levels + 1, n) / levels * deep, strict=True):
        w = right - left
        if style == 2:  # Teeth of their own, with lands between.
            points += [
                [left + 0.2 * w, y],
                [left + 0.25 * w, y + cut],
                [right - 0.25 * w, y + cut],
                [right - 0.2 * w, y],
            ]
        elif style == 3:
            points += [[left, y + cut], [right, y + 0.15 * deep]]
        else:
            points += [[left + 0.25 * style * w, y + cut], [right - 0.25 * style * w, y + cut]]
    return [*points, [end, y]]


def _key(rng: Rng, kind: int, a: float, b: float) -> tuple[list[NDArray], list[NDArray], float]:
    """What a thing of half length `a` and half width `b` along x is made of, what is cut out, and where its head is."""
    s, t = rng.uniform(0.3, 0.7, 2)
    if kind == 0:  # A key.
        bow, blade = min(b, a * 0.45), min(b, a * 0.45) * rng.uniform(0.3, 0.6)
        head = (_base(rng, bow, b * 0.95) if rng.random() < 0.5 else circle(0, 0, bow)) - (a - bow, 0)
        start, tip = 2 * bow - a + rng.uniform(4, 14), rng.uniform(0.2, 1) * blade
        upper = _bits(rng, start, a - tip, -blade, blade * rng.uniform(0.5, 1.1))
        lower = (
            [[x, -y] for x, y in _bits(rng, start, a - tip, -blade, blade * 0.6)]
            if rng.random() < 0.35
            else [[start, blade], [a - tip, blade]]
        )
        point = [[a, (s - 0.5) * blade]] if s < 0.6 else [[a, -blade * 0.5], [a, blade * 0.5]]
        shape = np.array([[bow - a, -blade], *upper, *point, *lower[::-1], [bow - a, blade]])
        stop = bar_at(6, 2 * blade + 8 * (t > 0.45), 1, start - 3, 0)
        return [head, shape, stop], [_opening(rng, bow * 0.35) * 0.9 - (a - 0.6 * bow, 0)], bow - a
    if kind == 1:  # A cam: discs of unlike size in one hull, with a shaped bore.
        r = b * rng.uniform(0.6, 0.95)
        discs = [circle(0, 0, r) - (a - r, 0)]
        for _ in range(int(rng.integers(1, 3))):
            q = r * rng.uniform(0.2, 0.7)
            discs.append(circle(rng.uniform(-0.2, 1) * (a - q), rng.uniform(-1, 1) * (b - q), q))
        hull = np.asarray(cv2.convexHull(np.concatenate(discs).astype(np.float32))).reshape(-1, 2).astype(np.float64)
        _, cuts = _keys(rng, hull, b * 0.5, int(rng.integers(1, 4)), 0)
        return [hull], [*cuts, _opening(rng, r * 0.4) - (a - r, 0)], r * 0.8 - a
    if kind == 2:  # A latch: a bar between two unlike ends, one of them hooked.
        r, q, w = b * rng.uniform(0.5, 0.95), b * rng.uniform(0.35, 0.9), b * rng.uniform(0.25, 0.5)
        bar, first = bar_at(2 * a - r, 2 * w, 2, r / 2, 0), circle(r - a, 0, r)
        hook = np.array([[a - 2 * q, w], [a - 2 * q, -b], [a - q * s, -b], [a, -w * t], [a, w]])
        mouth = bar_at(2 * q * s, b, 3 if t < 0.5 else 0, a - q * 1.2, -b * 0.7)
        adds, cuts = _keys(rng, bar, b * 0.4, int(rng.integers(0, 3)), 0.4)
        return [bar, first, hook, *adds], [mouth, *cuts, _opening(rng, r * 0.5) - (a - r, 0)], 0.0
    if kind == 3:  # A flat tool with sundry openings.
        body = _cornered(rng, a, b, 0.3)
        adds, cuts = _keys(rng, body, b * 0.9, int(rng.integers(1, 5)), 0.25)
        for x in np.arange(-a + b, a - b * 0.6, b * rng.uniform(1.1, 2.2)):
            cuts.append(_opening(rng, b * rng.uniform(0.2, 0.5)) + np.array([x, rng.uniform(-0.2, 0.2) * b]))
        return [body, *adds], cuts, a - b
    # A rack, a comb or a pick: a strip with steps on one edge, and an eye.
    low = rng.uniform(0.2, 0.9) * b
    upper = _bits(rng, -a * s, a, -b, (b + low) * 0.5)
    strip = np.array([[-a, -b * t], [-a * s, -b], *upper, [a, low], [-a, low]])
    adds, cuts = _keys(rng, np.array([[a, low], [-a, low]]), b * 0.4, int(rng.integers(0, 2)), 0.5)
    return [strip, *adds], [*cuts, circle(-a * (s + 1) / 2, (low - b * t) / 2, b * 0.22)], 0.2 * a


def key_blank(rng: Rng, size: int) -> Canvas:
    """Keys, cams, latches, lock parts and flat tools: clean bits and steps, bows with holes, grooves, stamped words."""
    c = Canvas.blank(backdrop(rng, size))
    lanes, lying = int(rng.choice([1, 1, 2, 3, 4])), float(rng.choice([0, 90]))
    skew = rng.uniform(0, 360) if lanes == 1 and rng.random() < 0.4 else lying
    alike, kinds = rng.random() < 0.3, rng.integers(0, 5, lanes)
    for lane in range(lanes):
        room = 264 / lanes / 2
        b = min(room * 0.85, 72) * rng.uniform(0.8, 1)
        a = rng.uniform(max(1.5 * b, 70), 132) if skew in (0, 90) else rng.uniform(max(1.2 * b, 90), 128)
        kind = int(kinds[0 if alike else lane])
        adds, cuts, head = _key(rng, kind, a, b)
        turn, away = skew + float(rng.choice([0, 180])), (lane - (lanes - 1) / 2) * 2 * room
        x, y = spoke(away, lying + 90)
        colour = _metal(rng) if rng.random() < 0.6 else against(rng, c.background)
        if abs(float(colour.mean() - c.background.mean())) < 40:
            colour = against(rng, c.background)
        fillet = float(rng.choice([0.7, 0.7, rng.uniform(1, 3)]))
        body = _solid(c, [turned(o, turn, x, y) for o in adds], [turned(o, turn, x, y) for o in cuts], fillet)
        gloss = rng.uniform(0, 0.8)
        _lay(c, body, coloured(colour, finish(rng, size)), rng.uniform(3, 6), rng.uniform(1, 3), gloss)
        if kind == 0 and rng.random() < 0.35:  # A coloured grip over the bow.
            grip = c.polygon(turned(adds[0], turn, x, y))
            grip = grip._replace(alpha=grip.alpha * body.alpha[grip.rows, grip.cols])
            _lay(c, grip, against(rng, c.background), 3, 3, rng.uniform(0, 0.6))
        for _ in range(int(rng.integers(0, 3))):  # Grooves along it; some stop on the way.
            v, end, wide = rng.uniform(-0.25, 0.3) * b, rng.uniform(0.4, 1.1) * a, rng.uniform(2.5, 6)
            line = turned(np.array([[head + b * 0.5, v], [max(end, head + b), v]]), turn, x, y)
            groove = on_part(c, c.stroke(line, wide))
            c.lift(groove, -1.8, wide / 2)
            c.tint(groove, rng.uniform(0.7, 0.9))
        find, height = _finder(c, rng, body, 2), rng.uniform(7, 11)
        if rng.random() < 0.6 and (spot := find(height)):
            words = on_part(c, writing_at(c, any_word(rng, 1, 3, _SIGNS), *spot, height, 1.6, turn))
            c.paint(words, darker(colour, 0.5), 0.9)
            c.lift(words, -0.8, 0.8)
        if rng.random() < 0.4 and (spot := find(b * 0.14)):
            c.cut(c.polygon(_opening(rng, b * 0.14) + np.array(spot)))
    return c


def _pin(rng: Rng, r: float, metal: Floats) -> Stamp:
    """A contact, an insert or a screw that sits in a housing."""
    style, slot = int(rng.integers(5)), rng.uniform(0.25, 0.5)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        if style < 2:
            shape = canvas.box(x, y, 1.5 * r, r * (1.5 if style else 0.9), angle, r * 0.15)
        else:
            rim = circle(0, 0, r)[:: (1, 5, 1)[style - 2]]
            shape = canvas.polygon(turned(rim, angle, x, y))
        canvas.place(shape, metal, lift=3, bevel=min(2.5, r * 0.4), gloss=0.5)
        if style < 4:
            canvas.paint(canvas.disc(x, y, r * slot), metal * 0.3)
        else:
            canvas.paint(canvas.box(x, y, r * 1.4, r * slot * 0.7, angle), metal * 0.35)

    return draw


def _block(c: Canvas, rng: Rng, x: float, y: float, shell: Floats, metal: Floats, dark: Floats, gloss: float) -> None:
    """Rows of contacts on a base; one place may be left out on purpose."""
    pitch, ny, turn = rng.uniform(13, 18), int(rng.integers(1, 4)), float(rng.choice([0, 90]))
    nx, stamp = min(int(rng.integers(2, 7)), int(60 / pitch)), _pin(rng, pitch * 0.4, metal)
    _lay(c, c.box(x, y, nx * pitch + 6, ny * pitch + 6, turn, 3), shell, 3, 2, gloss)
    left_out = int(rng.integers(nx * ny)) if nx * ny > 4 and rng.random() < 0.5 else -1
    for i in range(nx * ny):
        off = np.array([[(i % nx - (nx - 1) / 2) * pitch, (i // nx - (ny - 1) / 2) * pitch]])
        px, py = (float(v) for v in turned(off, turn, x, y)[0])
        if i != left_out:
            c.paint(c.disc(px, py, pitch * 0.34), dark)
            c.components.append(Component(stamp, px, py, pitch * 0.45, turn))


def _vent(c: Canvas, rng: Rng, s: float, x: float, y: float) -> None:
    """A grille of slots, the first of which may be shorter, or of round holes."""
    turn, n, dotted = float(rng.choice([0, 45, 90])), int(rng.integers(3, 7)), rng.random() < 0.3
    first = rng.uniform(0.6, 1.5) * s
    for i in range(n):
        v, long = (i - (n - 1) / 2) * 1.5 * s / n, 1.5 * s if i else first
        dots = [circle(u, v, 0.4 * s / n) for u in np.linspace(-0.6, 0.6, n) * s]
        for slot in dots if dotted else [bar_at(long, 0.75 * s / n, 3, (long - 1.5 * s) / 2, v)]:
            c.cut(c.polygon(turned(slot, turn, x, y)))


def _sunk_label(c: Canvas, rng: Rng, x: float, y: float, around: Floats) -> None:
    panel = c.polygon(_cornered(rng, 17, 8) + np.array([x, y]))
    c.lift(panel, -2, 1.5)
    paper = any_colour(rng) if rng.random() < 0.5 else around
    c.paint(panel, paper)
    c.paint(c.text(any_word(rng, 2, 4, _SIGNS), x, y, 7, 1.3), against(rng, paper), 0.9)


def moulded_housing(rng: Rng, size: int) -> Canvas:
    """Enclosure halves and connectors from above: a rim with openings, ribs, bosses, hooks, a grille, pins, a label."""
    c = Canvas.blank(backdrop(rng, size))
    a, b, colour = rng.uniform(85, 132), rng.uniform(70, 130), against(rng, c.background)
    outline = (_cornered(rng, a, b, 0.6) if rng.random() < 0.6 else _base(rng, a, b)) + np.array([160, 160])
    adds, cuts = _keys(rng, outline, min(a, b) * 0.3, int(rng.choice([0, 1, 1, 2])), 0.6)
    shell, gloss = coloured(colour, grainy(rng, size, rng.uniform(0, 0.04), rng.uniform(0.6, 3))), rng.uniform(0, 0.5)
    body = _solid(c, [outline, *adds], cuts, rng.uniform(0.8, 7))
    _lay(c, body, shell, 9, rng.uniform(1.5, 4), gloss)
    depth, wall, deep = depth_within(c, body), rng.uniform(5, 13), rng.uniform(4, 7)
    floor = body._replace(alpha=np.clip((depth - np.float32(wall)) * np.float32(c.unit) + 0.5, 0, 1))
    c.height -= np.float32(deep * c.unit) * np.clip((depth - np.float32(wall)) / 2, 0, 1)
    bottom = float(rng.uniform(0.72, 0.95))
    if rng.random() < 0.2:
        c.paint(floor, any_colour(rng))
    c.tint(floor, bottom)
    if rng.random() < 0.4:  # A step all along the rim, where the other half fits in.
        tongue = np.clip((np.float32(wall * 0.5) - depth) * np.float32(c.unit) + 0.5, 0, 1) * body.alpha
        c.lift(body._replace(alpha=tongue.astype(np.float32)), rng.choice([-2, 2]), 1.5)

    def within(region: Region, area: Region) -> Region:
        return region._replace(alpha=region.alpha * area.alpha[region.rows, region.cols])

    tall = rng.uniform(0.4, 1) * deep
    for _ in range(int(rng.integers(0, 7))):  # Ribs from the wall inwards; they stop somewhere.
        x, y, out = _edge(rng, outline, 20)
        long, wide = rng.uniform(0.2, 1.1) * min(a, b), rng.uniform(2.5, 6)
        rib = within(c.box(*spoke(-long / 2, out, x, y), long, wide, out), floor)
        _raise(c, rib, tall, wide / 2)
        c.tint(rib, 1.12 if colour.mean() < 190 else 1 / bottom)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 4]))):  # Openings in the rim, clear through or down to the floor.
        wide = rng.uniform(7, 46)
        x, y, out = _edge(rng, outline, wide)
        shape = turned(_tooth(rng, wide, wall + rng.uniform(1, 4)) * (-1, 1), out, x, y)
        shape = shape if rng.random() < 0.5 else turned(bar_at(2 * wall + 6, wide, 0, 0, 0), out, x, y)
        gate = within(c.polygon(shape), body)
        if rng.random() < 0.6:
            c.cut(gate)
        else:
            c.lift(within(gate, body._replace(alpha=1 - floor.alpha)), -rng.uniform(0.6, 1) * deep, 1)
            c.tint(gate, 0.85)
    find, metal = _finder(c, rng, floor, 3), hsv(rng.choice([0.12, 0.6]), rng.uniform(0, 0.6), rng.uniform(0.6, 0.95))
    dark = darker(colour, 0.3)
    if abs(float((metal - colour).mean())) < 35:
        metal = against(rng, colour)
    if rng.random() < 0.5 and (spot := find(rng.uniform(24, 46))):
        _block(c, rng, *spot, shell, metal, dark, gloss)
    r, filled = rng.uniform(7, 11), rng.random() < 0.6
    stamp = _pin(rng, r, metal)
    for _ in range(int(rng.integers(2, 7))):  # Bosses: all have their inserts or screws, or none has.
        if spot := find(r + 4):
            _lay(c, c.disc(*spot, r + 3.5), shell, tall + 1, 2, gloss)
            bore = c.disc(*spot, r * 0.65)
            c.paint(bore, dark)
            if filled or not c.components:
                filled = True
                c.components.append(Component(stamp, *spot, r, float(rng.choice([0, 30, 45]))))
    s = rng.uniform(14, 32)
    if rng.random() < 0.5 and (spot := find(s)):
        _vent(c, rng, s, *spot)
    for _ in range(int(rng.integers(0, 4))):  # Openings, posts, hooks.
        s, kind = rng.uniform(4, 16), int(rng.integers(4))
        if spot := find(s):
            region = c.polygon(_opening(rng, s) + np.array(spot))
            if kind == 0:
                c.cut(region)
            elif kind == 1:
                _lay(c, c.disc(*spot, min(s, 6)), shell, 8, 3, gloss)
            elif kind == 2:
                turn = float(rng.choice(_RIGHT))
                _lay(c, c.box(*spot, 1.4 * s, s, turn, 1), shell, 6, 2, gloss)
                c.tint(c.box(*spoke(s * 0.4, turn, *spot), s * 0.4, s, turn), 0.7)
            else:
                _lay(c, region, shell, rng.choice([-2, 4]), 2, gloss)
    if rng.random() < 0.5 and (spot := find(18)):
        _sunk_label(c, rng, *spot, colour * bottom)
    if not c.components:
        c.place(c.disc(160, 160, r + 3), shell, lift=4, bevel=2)
        c.paint(c.disc(160, 160, r * 0.65), dark)
        c.components.append(Component(stamp, 160, 160, r))
    return c
