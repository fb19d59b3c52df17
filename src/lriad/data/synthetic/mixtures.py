"""The `parts` family's mixtures: sound parts made of many unlike things, so that being unlike the rest is no fault."""

from __future__ import annotations

from collections.abc import Sequence

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
    clouds,
    coloured,
    grid,
    hsv,
    noise,
    rounded_box,
    spoke,
    turned,
    wobbly,
)
from lriad.data.synthetic.materials import against, backdrop, finish, grainy, lathe

Piece = tuple[list[NDArray], int]
"""Outlines filled by the even-odd rule, and which of the colours they have."""

_LETTERS = list("ABCDEFGHKLMNOPRSTUVXYZ")


def bar_at(w: float, h: float, radius: float, x: float, y: float) -> NDArray:
    """The outline of a rectangle around a point."""
    return rounded_box(w, h, radius) + np.array([x, y])


def on_part(canvas: Canvas, region: Region) -> Region:
    """The region without what lies off the part."""
    return region._replace(alpha=region.alpha * (canvas.part[region.rows, region.cols] > 0.9))


def any_word(rng: Rng, low: int, high: int, letters: Sequence[str] = _LETTERS) -> str:
    return "".join(rng.choice(list(letters), int(rng.integers(low, high + 1))))


def writing_at(canvas: Canvas, words: str, x: float, y: float, height: float, weight: float, angle: float) -> Region:
    """Letters around a centre, turned."""
    upright = canvas.text(words, x, y, height, weight)
    if angle % 360 == 0:
        return upright
    whole = np.zeros((canvas.size, canvas.size), np.float32)
    whole[upright.rows, upright.cols] = upright.alpha
    centre = (x * canvas.unit - 0.5, y * canvas.unit - 0.5)
    turn = cv2.getRotationMatrix2D(centre, -angle, 1.0)
    whole = np.asarray(cv2.warpAffine(whole, turn, whole.shape, flags=cv2.INTER_LINEAR), np.float32)
    reach = upright.alpha.shape[1] // 2 + upright.alpha.shape[0] // 2 + 2
    row, col = int(centre[1]), int(centre[0])
    rows = slice(max(0, row - reach), min(canvas.size, row + reach))
    cols = slice(max(0, col - reach), min(canvas.size, col + reach))
    return Region(rows, cols, whole[rows, cols])


def makers_mark(rng: Rng, radius: float, ink: Floats) -> Stamp:
    """A simple mark of a maker."""
    style, spread, word = int(rng.integers(5)), rng.uniform(0.3, 0.7), any_word(rng, 1, 2)
    points = int(rng.integers(3, 8))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        ring = [circle(x, y, radius), circle(x, y, radius * (0.6 + 0.3 * spread))]
        star = circle(0, 0, 1)[:: 40 // (2 * points)][: 2 * points] * radius
        star = star * np.where(np.arange(len(star)) % 2, spread, 1.0)[:, None]
        bars = [turned(bar_at(1.8 * radius, 0.35 * radius, 0, 0, at * radius), angle, x, y) for at in (-1, 0, 1)]
        shapes = (
            [*ring, turned(star * 0.55, angle, x, y)],
            [turned(star, angle, x, y)],
            [*ring, circle(x, y, radius * 0.3)],
            [b * (1, 0.6) + (0, y * 0.4) for b in bars] if angle == 0 else bars,
            [turned(rounded_box(2 * radius, 1.5 * radius, radius * spread), angle, x, y)],
        )[style]
        canvas.paint(canvas.polygon(*shapes), ink, 0.95)
        if style == 4:
            behind = np.full(3, 255.0 if ink.mean() < 120 else 20.0)
            canvas.paint(writing_at(canvas, word, x, y, radius * 0.7, 2, angle), behind, 0.95)

    return draw


# Boards


def board_device(rng: Rng, kind: int, w: float, h: float, board: Floats, metal: Floats) -> Stamp:
    """One thing that is soldered to a board, `w` wide and `h` high."""
    colour, second, gloss = against(rng, board), any_colour(rng), rng.uniform(0, 0.8)
    if kind in (0, 6) and rng.random() < 0.6 and board.mean() > 85:
        colour = np.full(3, rng.uniform(20, 45), np.float32)
    ink = against(rng, colour)
    word, rows = any_word(rng, 2, 5, [*_LETTERS, *"0123456789"]), int(rng.integers(2, 5))
    r, n = min(w, h) / 2, max(2, int(max(w, h) / 8))
    flip = float(rng.choice([0, 90]))

    def put(canvas: Canvas, x: float, y: float, angle: float) -> None:
        def box(cx: float, cy: float, bw: float, bh: float, radius: float = 0.0) -> Region:
            return canvas.polygon(turned(bar_at(bw, bh, radius, cx, cy), angle, x, y))

        if kind == 0:  # A chip with legs.
            at = [((i - (n - 1) / 2) * 7.5, side * (h / 2 - 2)) for i in range(n) for side in (-1, 1)]
            if w < h:
                at = [(side * (w / 2 - 2), a) for a, side in ((p[0], np.sign(p[1])) for p in at)]
            legs = [turned(rounded_box(4, 4, 0) + place, angle, x, y) for place in at]
            canvas.place(canvas.polygon(*legs), metal, lift=1.5, bevel=1.5, gloss=0.5)
            bw, bh = (w, h - 8) if w >= h else (w - 8, h)
            canvas.place(box(0, 0, bw, bh, 1.5), colour, lift=5, bevel=2.5, gloss=gloss * 0.3)
            dot = turned(circle(6 - bw / 2, 6 - bh / 2, 2.2), angle, x, y)
            canvas.paint(canvas.polygon(dot), ink, 0.6)
            if len(word) * 5 < bw - 10:
                canvas.paint(writing_at(canvas, word, x, y, 6.5, 1, angle), ink, 0.8)
        elif kind == 1:  # A can.
            canvas.place(box(0, 0, 1.9 * r, 1.9 * r, r * 0.3), colour * 0.5, lift=2, bevel=2)
            canvas.place(canvas.disc(x, y, r * 0.92), colour, lift=8, bevel=r * 0.35, gloss=gloss)
            arc = [spoke(r * 0.85, angle + flip + turn, x, y) for turn in range(-50, 51, 5)]
            canvas.paint(canvas.polygon(arc), ink, 0.9)
        elif kind == 2:  # A coil.
            canvas.place(box(0, 0, w, h, 3), second * 0.5, lift=3, bevel=2)
            canvas.place(canvas.disc(x, y, r * 0.95, r * 0.4), colour, lift=5, bevel=r * 0.3, gloss=gloss)
            turns = [
                [spoke(r * 0.42, angle + a, x, y), spoke(r * 0.93, angle + a + 9, x, y)] for a in range(0, 360, 24)
            ]
            canvas.tint(canvas.stroke(turns, 1.5), 0.6)
        elif kind == 3:  # A socket with a row of holes.
            canvas.place(box(0, 0, w, h, 1), colour, lift=7, bevel=2, gloss=gloss * 0.4)
            long = max(w, h)
            count = max(2, int(long / 10))
            for i in range(count):
                a = (i - (count - 1) / 2) * long / (count + 0.4)
                cx, cy = (a, 0) if w >= h else (0, a)
                canvas.paint(box(cx, cy, 5.5, 5.5), colour * 0.35 if colour.mean() > 90 else colour + 70)
                canvas.paint(box(cx, cy, 2.5, 2.5), metal)
        elif kind == 4:  # A small part with metal ends.
            canvas.place(box(0, 0, w, h), metal, lift=2.5, bevel=2, gloss=0.5)
            mid = (w * 0.6, h) if w >= h else (w, h * 0.6)
            canvas.place(box(0, 0, *mid), colour, lift=1.5, bevel=2, gloss=gloss * 0.3)
        elif kind == 5:  # A heat sink, a relay or a shield.
            canvas.place(box(0, 0, w, h, 2), colour, lift=9, bevel=2.5, gloss=gloss)
            if rows > 2:
                for i in range(rows):
                    canvas.tint(box(0, (i - (rows - 1) / 2) * h / rows, w * 0.9, h / rows * 0.3), 0.55)
            else:
                canvas.paint(writing_at(canvas, word[:3], x, y, min(h * 0.3, w * 0.2), 1.3, angle), ink, 0.85)
        elif kind == 6:  # A square chip with contacts on four sides.
            q, m = 2 * r, max(3, int(r / 4))
            at = [((i - (m - 1) / 2) * q * 0.8 / m, side * (r - 2)) for i in range(m) for side in (-1, 1)]
            at += [(b, a) for a, b in at]
            legs = [turned(rounded_box(3, 3, 0) + place, angle, x, y) for place in at]
            canvas.place(canvas.polygon(*legs), metal, lift=1, bevel=1, gloss=0.5)
            canvas.place(box(0, 0, q - 7, q - 7, 1), colour, lift=3, bevel=2, gloss=gloss * 0.3)
            canvas.place(canvas.polygon(turned(circle(0, 0, r * 0.4), angle, x, y)), second, lift=0.5, bevel=2)
        else:  # A crystal, a lamp or a trimmer.
            canvas.place(box(0, 0, w, h, r), colour, lift=6, bevel=r * 0.7, gloss=gloss)
            canvas.paint(box(0, 0, w * 0.5, h * 0.25), ink, 0.8)

    return put


def control_unit(rng: Rng, size: int) -> Canvas:
    """A board of any colour with unlike devices, legends, traces and mounting holes, laid out afresh each time."""
    c = Canvas.blank(backdrop(rng, size))
    board, full = against(rng, c.background), rng.random() < 0.35
    w, h = (336.0, 336.0) if full else tuple(rng.uniform(200, 286, 2))
    c.place(
        c.box(160, 160, w, h, 0, 0 if full else rng.uniform(0, 14)),
        coloured(board, grainy(rng, size, rng.uniform(0.005, 0.03))),
        lift=3,
        bevel=2,
        gloss=rng.uniform(0, 0.4),
    )
    low, high = np.array([160 - w / 2, 160 - h / 2]) + 8, np.array([160 + w / 2, 160 + h / 2]) - 8
    shade = board * 1.25 + 14 if board.mean() < 120 else board * 0.8
    for _ in range(int(rng.integers(4, 18))):
        a, b = np.round(rng.uniform(low + 6, high - 6, (2, 2)) / 6) * 6
        dx, dy = b - a
        m, wide = min(abs(dx), abs(dy)), abs(dx) >= abs(dy)
        corner = (b[0] - np.sign(dx) * m, a[1]) if wide else (a[0], b[1] - np.sign(dy) * m)
        line, aside = np.stack([a, corner, b]), np.array([0, 5] if wide else [5, 0])
        c.paint(c.stroke([line + k * aside for k in range(int(rng.integers(1, 4)))], 1.8), shade, 0.9)
    metal = hsv(rng.choice([0.12, 0.6]), rng.uniform(0, 0.5), rng.uniform(0.6, 0.9))
    silk = against(rng, board)
    taken: list[tuple[float, float, float, float]] = []
    if not full and rng.random() < 0.8:
        ring = rng.uniform(6, 10)
        for sx in (-1, 1):
            for sy in (-1, 1):
                x, y = 160 + sx * (w / 2 - 16), 160 + sy * (h / 2 - 16)
                c.place(c.disc(x, y, ring), metal, lift=0.5, bevel=2, gloss=0.4)
                c.cut(c.disc(x, y, ring * 0.6))
                taken.append((x, y, 2 * ring + 4, 2 * ring + 4))

    def room(bw: float, bh: float) -> tuple[float, float] | None:
        for _ in range(25):
            x, y = (np.round(v / 4) * 4 for v in rng.uniform(low, high))
            inside = low[0] + bw / 2 <= x <= high[0] - bw / 2 and low[1] + bh / 2 <= y <= high[1] - bh / 2
            if inside and all(abs(x - a) > (bw + p) / 2 + 4 or abs(y - b) > (bh + q) / 2 + 4 for a, b, p, q in taken):
                taken.append((x, y, bw, bh))
                return float(x), float(y)
        return None

    sizes: tuple[tuple[int, int, int, int], ...] = (
        (40, 90, 30, 60),
        (22, 48, 0, 0),
        (28, 50, 0, 0),
        (40, 110, 16, 26),
        (20, 30, 11, 15),
        (40, 80, 30, 56),
    )
    sizes = (*sizes, (40, 70, 0, 0), (26, 44, 13, 18))
    kinds = [5, 0, 6, 3, 0, 2, 1, *rng.integers(0, 8, 12).tolist(), *[4] * int(rng.integers(2, 14))]
    kinds = kinds[int(rng.integers(4)) :]
    outlined, footprint = rng.random() < 0.7, rng.uniform(0.65, 0.85) if board.mean() > 70 else rng.uniform(1.3, 1.6)
    for k, kind in enumerate(kinds):
        a, b, p, q = sizes[kind]
        bw = rng.uniform(a, b)
        bh = bw if p == 0 else rng.uniform(p, q)
        if rng.random() < 0.5:
            bw, bh = bh, bw
        at = room(bw, bh)
        if at is None:
            continue
        x, y = at
        # What shows where it is missing: a seat, pads and a printed frame.
        c.tint(c.box(x, y, bw, bh), footprint)
        pads = [bar_at(6, 6, 1, x + s * (bw / 2 - 4), y + t * (bh / 2 - 4)) for s in (-1, 1) for t in (-1, 1)]
        c.place(c.polygon(*pads), metal, lift=0.4, bevel=1, gloss=0.3)
        if outlined:
            frame = [rounded_box(bw + 5, bh + 5, 0) + at, rounded_box(bw + 2.5, bh + 2.5, 0) + at]
            c.paint(c.polygon(*frame), silk, 0.8)
        draw = board_device(rng, kind, bw, bh, board * footprint, metal)
        if 30 < x < 290 and 30 < y < 290:
            c.components.append(Component(draw, x, y, max(min(bw, bh) / 2, 9), 0.0))
        else:
            draw(c, x, y, 0)
        if rng.random() < 0.6:
            name = str(rng.choice(list("RCULQDJ"))) + str(k + 1)
            if spot := room(16, 8):
                c.paint(c.text(name, *spot, 6.5, 1), silk, 0.9)
    for _ in range(int(rng.integers(0, 3))):
        bw, bh = rng.uniform(34, 70), rng.uniform(16, 30)
        if spot := room(bw, bh):
            paper, x, y = any_colour(rng, (0.7, 0.98)), *spot
            c.place(c.box(x, y, bw, bh, 0, 1), paper, lift=0.5, bevel=1)
            c.paint(c.text(any_word(rng, 3, 5), x, y - bh * 0.2, bh * 0.26, 1), paper * 0.2, 0.9)
            bars = np.cumsum(rng.choice([1.5, 2.5, 3.5], 14))
            bars = bars[bars < bw - 8] - bw / 2 + 3
            c.paint(c.stroke([[(x + v, y + bh * 0.1), (x + v, y + bh * 0.35)] for v in bars], 1), paper * 0.2, 0.9)
    for _ in range(int(rng.integers(0, 8))):
        if spot := room(8, 8):
            c.paint(c.disc(*spot, 3.2), metal)
            c.paint(c.disc(*spot, 1.4), board * 0.3)
    if not c.components:  # A small board with no room: one device in its middle.
        c.tint(c.box(160, 160, 44, 44), footprint)
        c.components.append(Component(board_device(rng, 5, 44, 44, board * footprint, metal), 160, 160, 20))
    return c


# Tools


def _tool(rng: Rng, kind: int, long: float, wide: float) -> list[Piece]:
    """The pieces of a thing that lies along x, `long` by at most `wide`, around the origin."""
    wide = min(wide, long * 0.36) if kind == 0 else wide
    a, r = long / 2, wide / 2
    t = r * rng.uniform(0.3, 0.55)
    if kind == 0:  # A wrench with one or two open jaws.

        def jaw(side: float) -> list[NDArray]:
            mouth = np.array([[r * 0.25, -r * 0.4], [r * 1.3, -r * 0.45], [r * 1.3, r * 0.45], [r * 0.25, r * 0.4]])
            hook = circle(0, 0, r)
            keep = hook[~((hook[:, 0] > 0) & (np.abs(hook[:, 1]) < r * 0.45))]
            order = np.argsort(np.arctan2(keep[:, 1], keep[:, 0]) % (2 * np.pi))
            return [(np.concatenate([keep[order], mouth[[3, 0]]]) + np.array([a - r, 0])) * (side, 1)]

        shaft = rounded_box(long - 2.6 * r, 2 * t, t * 0.5)
        other = [circle(r - a, 0, r * 0.9), circle(r - a, 0, r * 0.5)] if rng.random() < 0.5 else jaw(-1)
        return [([shaft], 0), (jaw(1), 0), (other, 0)]
    if kind == 1:  # A key.
        n = int(rng.integers(2, 5))
        steps = [
            bar_at(a * 0.14, r * d, 0, a * (0.9 - 0.24 * i), r * d / 2) for i, d in enumerate(rng.uniform(0.35, 0.8, n))
        ]
        bow = [circle(r - a, 0, r), circle(r - a, 0, r * rng.uniform(0.3, 0.6))]
        return [([bar_at(long - 2 * r + 6, t, 0, r - 3, 0)], 0), *(([s], 0) for s in steps), (bow, 0)]
    if kind == 2:  # A ring or a washer.
        return [([circle(0, 0, r), circle(0, 0, r * rng.uniform(0.4, 0.75))], 0)]
    if kind == 3:  # A bar, a cylinder or a battery.
        cap = bar_at(long * 0.16, wide, 2, a * 0.84, 0)
        return [([rounded_box(long, wide * 0.9, r * rng.uniform(0, 1))], 0), ([cap], 1)]
    if kind == 4:  # A clip.
        s = t * 0.9
        arms = [bar_at(long - r, s, s * 0.4, r / 2, side * (r - s / 2)) for side in (-1, 1)]
        half = circle(r - a, 0, r)
        inner = circle(r - a, 0, r - s)
        bend = np.concatenate([half[half[:, 0] <= r - a + 0.1], inner[inner[:, 0] <= r - a + 0.1][::-1]])
        return [([arm], 0) for arm in arms] + [([bend], 0)]
    if kind == 5:  # A screwdriver or a brush.
        handle = bar_at(long * 0.45, wide * 0.9, r * rng.uniform(0.2, 0.9), -long * 0.275, 0)
        tip = bar_at(long * 0.1, t * 1.4, 1, a - long * 0.05, 0)
        return [([bar_at(long * 0.6, t * 0.8, 0, long * 0.2, 0)], 0), ([tip], 0), ([handle], 1)]
    if kind == 6:  # A nut or a plug.
        corners = int(rng.choice([4, 5, 8]))
        return [([circle(0, 0, r)[:: 40 // corners], circle(0, 0, r * rng.uniform(0.3, 0.6))], 0)]
    if kind == 7:  # A hammer or a tee.
        head = bar_at(wide * 0.5, wide, 3, a - wide * 0.25, 0)
        return [([rounded_box(long * 0.9, t, t * 0.5) - (long * 0.05, 0)], 1), ([head], 0)]
    # A spanner bent at a right angle.
    s = max(t * 0.8, 5)
    return [([np.array([[-a, r], [-a, r - s], [a - s, r - s], [a - s, -r], [a, -r], [a, r]])], 0)]


def _grown(canvas: Canvas, outlines: Sequence[Sequence[NDArray]], by: float) -> Region:
    """The pieces together, their holes filled, `by` units larger on all sides."""
    whole = np.zeros((canvas.size, canvas.size), np.float32)
    for piece in outlines:
        region = canvas.polygon(piece[0])
        view = whole[region.rows, region.cols]
        np.maximum(view, region.alpha, out=view)
    width = 2 * max(1, round(by * canvas.unit)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return Region(slice(0, canvas.size), slice(0, canvas.size), np.asarray(cv2.dilate(whole, kernel), np.float32))


def tool_case(rng: Rng, size: int) -> Canvas:
    """Unlike tools, each in a recess of its own shape."""
    c = Canvas.blank(backdrop(rng, size))
    foam, full = against(rng, c.background), rng.random() < 0.4
    w, h = (336.0, 336.0) if full else tuple(rng.uniform(230, 288, 2))
    texture = grainy(rng, size, rng.uniform(0.01, 0.06), rng.uniform(0.7, 3))
    c.place(c.box(160, 160, w, h, 0, rng.uniform(0, 22)), coloured(foam, texture), lift=5, bevel=4)
    w, h = min(w, 290) - 16, min(h, 290) - 16
    cells = [(160 - w / 2, 160 - h / 2, w, h)]
    wanted = int(rng.integers(3, 8))
    while len(cells) < wanted:
        k = int(np.argmax([cw * ch for _, _, cw, ch in cells]))
        x, y, cw, ch = cells.pop(k)
        share = rng.uniform(0.36, 0.64)
        if (cw > ch) == (rng.random() < 0.75):
            cells += [(x, y, cw * share, ch), (x + cw * share, y, cw * (1 - share), ch)]
        else:
            cells += [(x, y, cw, ch * share), (x, y + ch * share, cw, ch * (1 - share))]
    dark = foam.mean() > 75
    bed = (
        foam * rng.uniform(0.35, 0.6) if dark or rng.random() < 0.3 else foam * 0.7 + any_colour(rng, (0.4, 0.7)) * 0.4
    )
    if not dark:
        bed = foam + rng.uniform(30, 60)
    two_tone, kinds, loose = rng.random() < 0.4, rng.permutation(9), rng.uniform(2, 5)
    for k, (x, y, cw, ch) in enumerate(cells):
        kind = int(kinds[k])
        x, y, angle = x + cw / 2, y + ch / 2, 0.0 if cw >= ch else 90.0
        angle += float(rng.choice([0, 180]))
        long, wide = max(cw, ch) - 18, min(min(cw, ch) - 16, max(cw, ch) * rng.uniform(0.3, 0.6), 74)
        wide = max(wide, 16)
        if kind in (2, 6):
            wide = min(min(cw, ch) - 16, 90)
        colours = [against(rng, bed), against(rng, bed)]
        pieces, gloss = _tool(rng, kind, long, wide), rng.uniform(0.1, 0.9)
        outlines = [[turned(o, angle, x, y) for o in piece] for piece, _ in pieces]
        if rng.random() < 0.7:
            recess = _grown(c, outlines, loose)
        else:
            span = np.concatenate([o for piece, _ in pieces for o in piece])
            bw, bh = np.ptp(span, 0) + 2 * loose
            cx, cy = turned(((span.max(0) + span.min(0)) / 2)[None], angle, x, y)[0]
            recess = c.box(cx, cy, bw, bh, angle, rng.uniform(0, 8))
        c.paint(recess, coloured(bed, texture) if not two_tone else bed)
        c.lift(recess, -5, 3)

        def draw(
            canvas: Canvas,
            x: float,
            y: float,
            angle: float,
            pieces: list[Piece] = pieces,
            colours: list[Floats] = colours,
            gloss: float = gloss,
        ) -> None:
            for outlines, look in pieces:
                region = canvas.polygon(*(turned(o, angle, x, y) for o in outlines))
                canvas.place(region, colours[look], lift=6, bevel=5, gloss=gloss)

        c.components.append(Component(draw, x, y, max(wide * 0.5, 12), angle))
    return c


# Scales


def dial_plate(rng: Rng, size: int) -> Canvas:
    """The face of a gauge, a clock or a scale, with its pointer."""
    c = Canvas.blank(backdrop(rng, size))
    rim, r, square = against(rng, c.background), rng.uniform(112, 136), rng.random() < 0.35
    gloss = rng.uniform(0, 0.7)
    body = c.box(160, 160, 2 * r, 2 * r, 0, rng.uniform(2, 30)) if square else c.disc(160, 160, r)
    c.place(body, coloured(rim, finish(rng, size)), lift=7, bevel=rng.uniform(3, 9), gloss=gloss)
    face = any_colour(rng, (0.75, 0.98)) if rng.random() < 0.5 else any_colour(rng)
    inner = r * (rng.uniform(0.82, 0.92) if not square else rng.uniform(0.86, 0.93))
    plate = c.box(160, 160, 2 * inner, 2 * inner, 0, 8) if square and rng.random() < 0.5 else c.disc(160, 160, inner)
    c.paint(plate, coloured(face, grainy(rng, size, rng.uniform(0, 0.03), 2)))
    c.polish(plate, rng.uniform(0, 0.3))
    c.lift(plate, -4, 3)
    ink, accent = against(rng, face), against(rng, face)
    clock = rng.random() < 0.4
    sweep, majors = (360.0, 12) if clock else (float(rng.choice([180, 240, 270, 300])), int(rng.integers(4, 11)))
    start = -90.0 if clock else 90 + (360 - sweep) / 2
    count = majors if clock else majors - 1
    outer, long = inner * 0.95, rng.uniform(16, 24)
    minor = int(rng.choice([2, 5, 10] if majors < 8 else [2, 5]))
    fine = [start + sweep * i / (count * minor) for i in range(count * minor + 1)]
    c.paint(c.stroke([[spoke(outer, a), spoke(outer - long * 0.55, a)] for a in fine], 1.3), ink, 0.95)
    if not clock and rng.random() < 0.5:  # A zone of another colour.
        a, b = np.sort(rng.uniform(0, sweep, 2)) + start
        arc = np.linspace(a, b, 30)
        band = [spoke(outer - long - 2, v) for v in arc] + [spoke(outer - long - 8, v) for v in arc[::-1]]
        c.paint(c.polygon(np.array(band)), any_colour(rng, (0.5, 0.9)))
    elif not clock and rng.random() < 0.5:
        arc = np.linspace(start, start + sweep, 90)
        c.paint(c.stroke([spoke(outer, v) for v in arc], 1.5), ink)
    mark = rng.uniform(8, 10)

    def tick(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.box(x, y, long + 4, mark, angle), ink, lift=0.8, bevel=1.5)

    step, height = int(rng.choice([1, 2, 5, 10, 20])), rng.uniform(15, 19)
    weight = rng.uniform(2, 3)
    ring = outer - long - 12 - height * 0.7
    digits = 2 if clock else len(str((majors - 1) * step))
    chord = 2 * ring * float(np.sin(np.radians(min(sweep / count, 90) / 2)))
    height = max(10, min(height, chord / (0.95 * digits)))

    def number(text: str) -> Stamp:
        return lambda canvas, x, y, angle: canvas.paint(
            writing_at(canvas, text, x, y, height, weight, angle), ink, 0.95
        )

    for i in range(majors):
        angle = start + sweep * i / count
        c.components.append(Component(tick, *spoke(outer - long / 2, angle), long / 2, angle))
        text = str(12 if i == 0 else i) if clock else str(i * step)
        c.prints.append(Component(number(text), *spoke(ring, angle), height))
    pointing = start + sweep * rng.random()
    free = pointing + 180 if clock else 90 if abs((pointing - 90 + 180) % 360 - 180) > 60 else pointing + 180
    at = spoke(ring * 0.55, free)
    logo = makers_mark(rng, 11, accent)
    c.prints.append(Component(logo, *at, 11))
    if rng.random() < 0.5:
        c.paint(c.text(any_word(rng, 2, 5), at[0], at[1] - 20 if at[1] > 160 else at[1] + 20, 9, 1.3), ink, 0.9)
    reach = ring - height * 0.9
    hub, half = rng.uniform(7, 15), rng.uniform(2, 5)
    hands = [(reach, pointing, half)]
    if clock:
        hands.append((reach * rng.uniform(0.55, 0.75), pointing + rng.uniform(40, 140), half * 1.3))
    tail = rng.uniform(0.0, 0.3) * reach
    tip = rng.uniform(0.2, 1)
    hand = against(rng, face)
    for length, angle, width in hands:
        shape = np.array([[-tail, -width], [length * 0.9, -width * tip], [length, 0], [length * 0.9, width * tip]])
        shape = np.concatenate([shape, [[-tail, width]]])
        c.tint(c.polygon(turned(shape, angle, 162, 163)), 0.75)
        c.place(c.polygon(turned(shape, angle, 160, 160)), hand, lift=2, bevel=2, gloss=gloss)
    c.place(c.disc(160, 160, hub), any_colour(rng), lift=4, bevel=hub * 0.7, gloss=gloss)
    if square:
        metal, k = against(rng, rim), rng.uniform(0.86, 0.9) * r
        screw_size = min(10.5, (r - k) * 0.9 + 3)
        slot = rng.uniform(0, 180)

        def screw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            canvas.place(canvas.disc(x, y, screw_size), metal, lift=3, bevel=screw_size * 0.5, gloss=0.4)
            canvas.tint(canvas.box(x, y, screw_size * 1.5, 2.6, angle), 0.4)

        for sx in (-1, 1):
            for sy in (-1, 1):
                x, y = 160 + sx * k, 160 + sy * k
                c.tint(c.disc(x, y, 4.5), 0.3)
                c.components.append(Component(screw, x, y, 10, slot + 60 * sx + 25 * sy))
    return c


# Food


def baked_snack(rng: Rng, size: int) -> Canvas:
    """A waffle, a cracker, a bar or a knot, browned, with whatever is baked into it."""
    c = Canvas.blank(backdrop(rng, size))
    kind = int(rng.integers(4))
    dough = hsv(rng.normal(0.095, 0.018), rng.uniform(0.25, 0.75), rng.uniform(0.3, 0.95))
    if rng.random() < 0.2:
        dough = any_colour(rng, (0.3, 0.95))
    for _ in range(20):
        if abs(float(dough.mean()) - float(c.background.mean())) > 40:
            break
        c = Canvas.blank(backdrop(rng, size))
    tilt = rng.uniform(0, 180)
    t = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    thick = rng.uniform(20, 32)
    if kind == 3:  # A knot, a ring or a curl of dough.
        k, form = int(rng.integers(2, 5)), int(rng.integers(3))
        path = (
            np.stack([np.sin(t) * (1 + 0.1 * np.cos(2 * t)), np.sin(2 * t) * 0.75], 1) * 100,
            np.stack([np.cos(t), np.sin(t)], 1) * (82 + 22 * np.cos(k * t))[:, None],
            np.stack([np.sin(t) + 0.35 * np.sin(3 * t), 0.9 * np.cos(t) - 0.35 * np.cos(2 * t)], 1) * 84,
        )[form]
        path = turned(path, tilt, 160, 160)
        body = c.stroke(np.concatenate([path, path[:2]]), thick)
    else:
        a = rng.uniform(95, 130)
        b = a * (rng.uniform(0.6, 1) if kind < 2 else rng.uniform(0.28, 0.5))
        outline = rounded_box(2 * a, 2 * b, rng.uniform(3, b))
        if kind == 0 and rng.random() < 0.4:
            outline = wobbly(rng, 0, 0, min(a, 115), 0.12, waves=3)
            b = a = min(a, 100)
        if kind == 1 and rng.random() < 0.5:  # A scalloped edge.
            n = int(rng.integers(8, 14))
            base = rounded_box(2 * a, 2 * b, 4)
            sides = [np.linspace(base[i], base[(i + 10) % 40], n * 4, endpoint=False) for i in (0, 10, 20, 30)]
            line = np.concatenate(sides)
            outline = line * (1 + 0.02 * np.cos(np.arange(len(line)) * np.pi / 2))[:, None]
        elif kind == 2:
            tilt = float(rng.choice([0, 90])) + rng.normal(0, 8)
        else:
            tilt = rng.normal(0, 10)
        body = c.polygon(turned(outline, tilt, 160, 160))
    crumb = 1 + rng.uniform(0.02, 0.07) * clouds(rng, size, rng.uniform(4, 20), 3)
    c.place(body, coloured(dough, crumb), lift=rng.uniform(6, 14), bevel=rng.uniform(8, 22), gloss=rng.uniform(0, 0.3))
    # Browning grows softly towards the edge, or all over in clouds.
    depth = cv2.distanceTransform((c.part > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / c.unit
    reach = rng.uniform(8, 30)
    brown = np.exp(-((depth / reach) ** 2)) * rng.uniform(0, 0.9) + rng.uniform(0, 0.1) * (noise(rng, size, 80) + 1)
    tone = np.array([0.75, 0.58, 0.4], np.float32)
    mix = np.clip(brown, 0, 0.6).astype(np.float32) * c.part
    c.albedo *= 1 - mix * (1 - tone)[:, None, None]
    if kind == 0:
        pitch = rng.uniform(18, 36)
        wide, turn = pitch * rng.uniform(0.2, 0.4), tilt + (45 if rng.random() < 0.4 else 0)
        x, y = grid(size)
        u = (x - 160) * np.cos(np.radians(turn)) + (y - 160) * np.sin(np.radians(turn))
        v = (y - 160) * np.cos(np.radians(turn)) - (x - 160) * np.sin(np.radians(turn))
        gap = np.minimum(np.abs((u / pitch) % 1 - 0.5), np.abs((v / pitch) % 1 - 0.5)) * pitch
        pit = np.clip((gap - wide / 2) / 3, 0, 1).astype(np.float32)
        pit *= np.clip((depth - 7) / 3, 0, 1) * c.part
        c.height -= pit * np.float32(rng.uniform(2, 5) * c.unit)
        c.albedo *= 1 - rng.uniform(0.05, 0.3) * pit
    elif kind == 1:
        nx, ny = int(rng.integers(3, 7)), int(rng.integers(3, 6))
        dot, loose = rng.uniform(2.2, 4.5), rng.uniform(0, 2.5)
        spots = [
            ((i - (nx - 1) / 2) * 1.6 * a / nx, (j - (ny - 1) / 2) * 1.6 * b / ny) for i in range(nx) for j in range(ny)
        ]
        if rng.random() < 0.5:
            spots = [s for k, s in enumerate(spots) if (k % ny + k // ny) % 2 == 0]
        for px, py in turned(np.array(spots) + rng.normal(0, loose, (len(spots), 2)), tilt, 160, 160):
            if depth[int(np.clip(py * c.unit, 0, size - 1)), int(np.clip(px * c.unit, 0, size - 1))] > 8:
                c.lift(c.disc(px, py, dot * 2.2), -2, dot * 2)
                c.tint(c.disc(px, py, dot), 0.5)
        if rng.random() < 0.3:
            for at in np.linspace(-0.7, 0.7, int(rng.integers(3, 8))) * 2 * b / 2:
                c.lift(on_part(c, c.stroke(turned([[-a * 0.9, at], [a * 0.9, at]], tilt, 160, 160), 4)), 1.5, 2)
    elif kind == 2:
        style, step = int(rng.integers(3)), rng.uniform(14, 28)
        coat = against(rng, dough)
        for at in np.arange(-a + 14, a - 12, step):
            line = turned([[at - 5, -b * 0.86], [at + 5, b * 0.86]], tilt, 160, 160)
            if style == 0:
                c.lift(on_part(c, c.stroke(line, step * 0.5)), 2.5, step * 0.25)
            elif style == 1:
                c.place(on_part(c, c.stroke(line, step * 0.35)), coat, lift=2, bevel=3, gloss=0.4)
        if style == 2:
            top = rounded_box(2 * a - 20, 2 * b - 18, b * 0.6)
            c.place(on_part(c, c.polygon(turned(top, tilt, 160, 160))), coat, lift=2, bevel=4, gloss=0.3)
    if rng.random() < (0.9 if kind == 3 else 0.5):  # Seeds, salt or crumbs, evenly strewn.
        long, ratio = rng.uniform(2.4, 5), rng.uniform(0.35, 1)
        colours = [against(rng, dough) for _ in range(int(rng.integers(1, 3)))]
        lattice = np.stack(np.meshgrid(*[np.arange(24, 300, rng.uniform(14, 22))] * 2), -1).reshape(-1, 2)
        for px, py in lattice + rng.normal(0, 4, lattice.shape):
            row, col = (int(np.clip(v * c.unit, 0, size - 1)) for v in (py, px))
            if depth[row, col] > 6:
                seed = c.ellipse(px, py, long, long * ratio, rng.uniform(0, 180))
                c.place(seed, colours[int(rng.integers(len(colours)))], lift=1.5, bevel=2, gloss=0.2)
    return c


# Lids


def printed_lid(rng: Rng, size: int) -> Canvas:
    """A lid or a can's end with rings, a tab and print."""
    c = Canvas.blank(backdrop(rng, size))
    colour, gloss = against(rng, c.background), rng.uniform(0.1, 0.9)
    a, form = rng.uniform(108, 136), int(rng.integers(3))
    b = a * (1.0 if form == 0 else rng.uniform(0.68, 0.95))
    corner = rng.uniform(0.25, 0.6) * b

    def shape(k: float, centre: bool = True) -> NDArray:
        line = circle(0, 0, 1) * (a, b) * k if form < 2 else rounded_box(2 * (a - b + b * k), 2 * b * k, corner * k)
        return line + (160 if centre else 0)

    c.place(
        c.polygon(shape(1)),
        coloured(colour, finish(rng, size) if rng.random() < 0.6 else lathe(rng, size, 160, 160, 0.06)),
        lift=6,
        bevel=rng.uniform(4, 10),
        gloss=gloss,
    )
    at = 1.0
    for _ in range(int(rng.integers(1, 5))):
        at -= rng.uniform(0.03, 0.09)
        c.lift(c.polygon(shape(at), shape(at - rng.uniform(0.015, 0.04))), rng.uniform(-5, 5), 2.5)
    inner = at - 0.06
    ground = colour
    if rng.random() < 0.6:
        ground = any_colour(rng)
        c.paint(c.polygon(shape(inner)), coloured(ground, grainy(rng, size, 0.01)), 0.95)
    if rng.random() < 0.4:
        c.paint(c.polygon(shape(inner - 0.02), shape(inner - 0.06)), against(rng, ground))
    inner -= 0.08
    ink, second = against(rng, ground), against(rng, ground)
    turn = float(rng.choice([0, 0, 90, 180, rng.uniform(0, 360)])) if form == 0 else 0.0
    tab = rng.random() < 0.6
    reach = b * inner
    if tab:  # A pull tab or a ring on a rivet, in the upper half.
        metal, long, wide = (
            any_colour(rng, (0.5, 0.95)),
            reach * rng.uniform(0.55, 0.75),
            reach * rng.uniform(0.32, 0.45),
        )
        if abs(float(metal.mean() - ground.mean())) < 30:
            metal = against(rng, ground)
        x, y = spoke(reach * 0.5, turn - 90)
        hole = rng.uniform(0.4, 0.62)
        outer = rounded_box(long, wide, wide * rng.uniform(0.3, 0.5))
        eye = rounded_box(long * hole, wide * 0.6, wide * 0.3) - (long * (0.4 - hole / 2), 0)
        away = turn + float(rng.choice([0, 90, -90]))
        c.lift(c.polygon(turned(outer * 1.25, away, x, y)), -3, 5)
        c.tint(c.polygon(turned(outer, away, x + 2, y + 3), turned(eye, away, x + 2, y + 3)), 0.7)
        c.place(
            c.polygon(turned(outer, away, x, y), turned(eye, away, x, y)), metal, lift=5, bevel=wide * 0.12, gloss=gloss
        )
        c.place(c.disc(*spoke(long * 0.33, away, x, y), wide * 0.17), metal * 0.85, lift=4, bevel=4, gloss=gloss)
    lines = int(rng.integers(1, 3 if tab else 5))
    low, high = (0.18, 0.75) if tab else (-0.68, 0.68)
    levels = np.linspace(low, high, lines) if lines > 1 else np.array([(low + high) / 2])
    room = (high - low) * reach / max(lines, 2)

    def printed(words: str, height: float, weight: float, colour: Floats) -> Stamp:
        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            canvas.paint(writing_at(canvas, words, x, y, height, weight, angle), colour, 0.95)

        return draw

    for k, level in enumerate(levels):
        chord = 2 * a * inner * float(np.sqrt(max(0.1, 1 - (abs(level) + 0.08) ** 2)))
        words = " ".join(any_word(rng, 2, 7) for _ in range(int(rng.integers(1, 3))))
        if len(words) > 10:
            words = words[:10].strip()
        height = min(room * rng.uniform(0.4, 0.75), chord * 0.88 / (0.95 * len(words)), 44)
        if height < 10:
            words = words[:4].strip()
            height = min(room * 0.6, chord * 0.8 / (0.95 * len(words)))
        x, y = spoke(level * reach, turn + 90)
        if rng.random() < 0.25:
            draw = makers_mark(rng, min(room * 0.42, 26), second)
            c.prints.append(Component(draw, x, y, min(room * 0.42, 26), turn))
            continue
        draw = printed(words, height, max(2, height * rng.uniform(0.08, 0.16)), ink if k % 2 == 0 else second)
        c.prints.append(Component(draw, x, y, max(height, 14), turn))
    if rng.random() < 0.4:  # Small print around the edge.
        small, radius = any_word(rng, 12, 30, [*_LETTERS, " "]), a * (inner + 0.02)
        if form == 0:
            first = rng.uniform(0, 360)
            for k, letter in enumerate(small):
                angle = first + k * 480 / radius
                px, py = spoke(radius, angle)
                c.paint(writing_at(c, letter, px, py, 6.5, 1, angle + 90), ink, 0.85)
    return c


# Fasteners


def side_fastener(rng: Rng, size: int) -> Canvas:
    """A pin, a bolt, a valve or a plug from the side: unlike sections one behind the other."""
    c = Canvas.blank(backdrop(rng, size))
    tilt = rng.uniform(0, 360)
    n, total = int(rng.integers(3, 7)), rng.uniform(210, 262)
    lengths = rng.dirichlet(np.full(n, 2.5)) * 0.6 + 0.4 / n
    lengths *= total / lengths.sum()
    base = rng.uniform(13, 30)
    halves = np.clip(base * np.exp(rng.normal(0, 0.45, n)), 9, 56)
    palette = [against(rng, c.background) for _ in range(int(rng.integers(1, 4)))]
    picks, styles = rng.integers(0, len(palette), n), rng.integers(0, 7, n)
    gx, gy = grid(size)
    across = (gy - 160) * np.cos(np.radians(tilt)) - (gx - 160) * np.sin(np.radians(tilt))
    along = (gx - 160) * np.cos(np.radians(tilt)) + (gy - 160) * np.sin(np.radians(tilt))
    deep, shine = rng.uniform(0.25, 0.55), rng.uniform(0, 0.4)
    gloss, marks = rng.uniform(0, 0.8), grainy(rng, size, rng.uniform(0, 0.03))
    left = -total / 2
    for i in range(n):
        long, half, style = float(lengths[i]), float(halves[i]), int(styles[i])
        away = np.minimum(np.abs(across / half), 1)
        factor = 1.05 - deep * away**2 + shine * np.exp(-(((across / half + 0.35) / 0.16) ** 2))
        if style == 3:  # Flats, as of a hexagon.
            factor = np.where(np.abs(across) < half * 0.5, 1.08, np.where(across < 0, 0.85, 0.62))
        colour = coloured(palette[picks[i]], (factor * marks).astype(np.float32))
        a, b = left, left + long
        wide = np.linspace(0, 1, 15)
        edge = np.full(15, half)
        if i == n - 1 and rng.random() < 0.6:  # The point.
            edge = half * (1 - wide ** rng.uniform(0.9, 2.5) * rng.uniform(0.6, 1))
        elif i == 0 and rng.random() < 0.4:  # A domed head.
            edge = half * np.sqrt(np.clip(1 - (1 - wide) ** 2 * 0.9, 0, 1))
        elif style == 5:
            edge = np.linspace(half, halves[i + 1] if i + 1 < n else half * 0.6, 15)
        elif style == 6:
            edge = half * (1 - rng.uniform(0.1, 0.3) * np.sin(np.pi * wide))
        x = np.linspace(a, b + (1 if i < n - 1 else 0), 15)
        outline = np.concatenate([np.stack([x, -edge], 1), np.stack([x, edge], 1)[::-1]])
        region = c.polygon(turned(outline, tilt, 160, 160))
        c.place(region, colour, lift=half * 0.25, bevel=min(half * 0.6, 8), gloss=gloss)
        if style in (1, 2, 4):  # A thread, a knurl or collars.
            pitch = (
                rng.uniform(6, 11) if style == 1 else rng.uniform(7, 10) if style == 2 else long / rng.integers(2, 5)
            )
            lean = (rng.uniform(0.1, 0.4), half / pitch * 0.8, 0.0)[(1, 2, 4).index(style)]
            turns = [(along - a) / pitch + sign * lean * across / half for sign in ((1, -1) if style == 2 else (1,))]
            ridge = np.min([np.cos(2 * np.pi * t) for t in turns], 0).astype(np.float32)
            if style == 4:
                ridge = np.where(ridge > 0.3, 1, -1).astype(np.float32)
            inside = on_part(c, region)
            c.tint(inside, 0.84 + 0.2 * ridge)
            view = c.height[inside.rows, inside.cols]
            view += inside.alpha * ridge[inside.rows, inside.cols] * np.float32(0.9 * c.unit)
        left = b
    return c


# Wheels


def _profile(rng: Rng, high: float, width: float) -> NDArray:
    """One tooth that points along x and stands on the line x = 0."""
    half, tip = width / 2, rng.uniform(0.35, 0.95)
    lean = float(rng.choice([-1, 1])) * half
    bow = np.radians(np.linspace(-90, 90, 11))
    tops = (
        np.array([[high, -half * tip], [high, half * tip]]),
        np.array(
            [[high * 0.5, -half * 0.85], [high, -half * tip * 0.6], [high, half * tip * 0.6], [high * 0.5, half * 0.85]]
        ),
        np.stack([high * 0.45 + high * 0.55 * np.cos(bow), half * np.sin(bow)], 1),
        np.array([[high, lean * 0.9], [high, lean * 0.3]][:: int(np.sign(lean)) * -1]),
    )
    return np.concatenate([[[-4, -half], [0, -half]], tops[int(rng.integers(len(tops)))], [[0, half], [-4, half]]])


def cog_set(rng: Rng, size: int) -> Canvas:
    """A wheel of any build, alone or meshing with another."""
    c = Canvas.blank(backdrop(rng, size))
    pair = rng.random() < 0.4
    r = rng.uniform(58, 74) if pair else rng.uniform(92, 112)
    high = rng.uniform(14, 20) if pair else rng.uniform(15, 24)
    share = rng.uniform(0.46, 0.54) if pair else rng.uniform(0.5, 0.66)
    most = int(min(40, 2 * np.pi * r * share * high * 0.85 / 190))
    n = int(rng.integers(12, max(most, 13) + 1))
    pitch, turn = 2 * np.pi * r / n, rng.uniform(0, 360)
    tooth, gloss, bevel = _profile(rng, high, pitch * share), rng.uniform(0, 0.8), rng.uniform(1.5, 4)
    wheels = [(160.0, 160.0, r, n, turn)]
    if pair:
        m = int(np.clip(n * rng.uniform(0.6, 1.05), 10, 40))
        other = pitch * m / (2 * np.pi)
        apart, toward = r + other + high * 1.04, float(rng.choice([0, 90, 180, 270])) + rng.uniform(-30, 30)
        first = spoke((apart - r + other) / 2, toward + 180)
        wheels[0] = (*first, r, n, toward)
        wheels.append((*spoke(apart, toward, *first), other, m, toward + 180 + 180 / m))
    for x, y, radius, count, start in wheels:
        colour = against(rng, c.background)
        face = coloured(colour, lathe(rng, size, x, y, rng.uniform(0.02, 0.1)) * grainy(rng, size, 0.015))
        c.place(c.disc(x, y, radius), face, lift=5, bevel=bevel, gloss=gloss)
        hub, rim = radius * rng.uniform(0.22, 0.38), radius * rng.uniform(0.74, 0.88)
        build, k = int(rng.integers(4)), int(rng.integers(3, 8))
        if build == 0:  # Spokes.
            gap = rng.uniform(0.18, 0.4) * 180 / k
            for i in range(k):
                arc = np.linspace(start + 360 * i / k + gap, start + 360 * (i + 1) / k - gap, 14)
                window = [spoke(rim, v, x, y) for v in arc] + [spoke(hub * 1.25, v, x, y) for v in arc[::-1]]
                c.cut(c.polygon(np.array(window)))
        elif build == 1:  # Holes.
            for i in range(k):
                hole = min((rim - hub) * 0.36, np.pi * (rim + hub) / 2 / k * 0.7)
                c.cut(c.disc(*spoke((rim + hub) / 2, start + 360 * i / k, x, y), hole))
        else:
            web = c.disc(x, y, rim, hub * 1.2)
            c.lift(web, rng.uniform(-5, 3), 4)
            if build == 3:
                c.paint(web, coloured(any_colour(rng), grainy(rng, size, 0.02)), rng.uniform(0.4, 1))
        c.place(c.disc(x, y, hub), face if rng.random() < 0.6 else any_colour(rng), lift=4, bevel=3, gloss=gloss)
        bore = hub * rng.uniform(0.4, 0.65)
        if rng.random() < 0.75:
            c.cut(c.disc(x, y, bore))
            if rng.random() < 0.6:
                c.cut(c.box(*spoke(bore, start, x, y), bore * 0.7, bore * 0.6, start))
        else:
            c.place(c.disc(x, y, bore), against(rng, colour), lift=4, bevel=bore * 0.6, gloss=gloss)
        if build == 2 and rng.random() < 0.7:
            word, spot = any_word(rng, 2, 4), spoke((rim + hub * 1.2) / 2, start + 40, x, y)
            c.paint(writing_at(c, word, *spot, (rim - hub) * 0.22, 1.5, start + 130), colour * 0.45, 0.8)

        def draw(canvas: Canvas, x: float, y: float, angle: float, face: ArrayLike = face) -> None:
            canvas.place(canvas.polygon(turned(tooth, angle, x, y)), face, lift=5, bevel=bevel, gloss=gloss)

        for i in range(count):
            angle = start + 360 * i / count
            tx, ty = spoke(radius, angle, x, y)
            if 30 < tx < 290 and 30 < ty < 290:
                c.components.append(Component(draw, tx, ty, high * 0.6, angle))
            else:
                draw(c, tx, ty, angle)
    return c
