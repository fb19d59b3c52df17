"""The `parts` family's electrics: boards, plugs, packages, terminals. Much of what is on a sound one stands alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
from lriad.data.synthetic.materials import against, backdrop, finish, grainy
from lriad.data.synthetic.mixtures import any_word, bar_at, makers_mark, on_part, writing_at

_MARKS = [*"ABCDEFGHKLMNPRSTUVXZ0123456789"]
_SMALL = ("resistor", "diode", "bead")
_MIDDLE = ("chip", "can", "coil", "crystal", "drop", "header")
_LARGE = ("chip", "square", "relay", "socket", "fins", "header")
_EXTENT = {
    "resistor": (18, 30, 0.42, 0.55),
    "diode": (20, 32, 0.32, 0.45),
    "bead": (14, 20, 0.6, 0.95),
    "chip": (34, 74, 0.55, 0.95),
    "can": (24, 40, 1.0, 1.0),
    "coil": (30, 52, 1.0, 1.0),
    "crystal": (30, 46, 0.38, 0.5),
    "drop": (18, 28, 1.0, 1.0),
    "header": (44, 110, 0.16, 0.3),
    "square": (40, 70, 1.0, 1.0),
    "relay": (40, 80, 0.5, 0.9),
    "socket": (40, 70, 0.5, 0.9),
    "fins": (40, 90, 0.5, 0.9),
}
"""Length in units, least and most, and width as a share of it."""


def _ink_on(colour: Floats) -> Floats:
    """Dark on light and light on dark."""
    return np.full(3, 25.0 if float(colour.mean()) > 110 else 225.0, np.float32)


def _piece(rng: Rng, what: str, w: float, h: float, metal: Floats, board: Floats) -> Stamp:
    """A thing on a board that lies along x, `w` by `h`, of one of the makes above."""
    body = np.full(3, rng.uniform(20, 60), np.float32) if rng.random() < 0.6 else any_colour(rng)
    if abs(float(body.mean() - board.mean())) < 18:
        body = against(rng, board)
    mark, second, gloss = against(rng, body), any_colour(rng), rng.uniform(0, 0.5)
    word, lines = any_word(rng, 2, 6, _MARKS), int(rng.integers(1, 3))
    pitch, legs_on, style = rng.uniform(7, 12), int(rng.integers(2)), int(rng.integers(3))
    r = min(w, h) / 2

    def put(canvas: Canvas, x: float, y: float, angle: float) -> None:
        def at(*outlines: NDArray) -> Region:
            return canvas.polygon(*(turned(outline, angle, x, y) for outline in outlines))

        def bar(bw: float, bh: float, cx: float = 0.0, cy: float = 0.0, corner: float = 0.0) -> Region:
            return at(bar_at(bw, bh, corner, cx, cy))

        def legend(height: float, cy: float = 0.0) -> None:
            fitting = word[: max(0, int(w * 0.8 / (0.85 * height)))]
            if fitting and height >= 4:
                cx, at_y = turned([[0, cy]], angle, x, y)[0]
                canvas.paint(writing_at(canvas, fitting, cx, at_y, height, 1, angle), mark, 0.75)

        if what == "resistor":
            canvas.place(bar(w, h), metal, lift=2, bevel=1.5, gloss=0.5)
            canvas.place(bar(w * 0.6, h * 1.04), body, lift=1.5, bevel=1.5, gloss=gloss * 0.4)
        elif what == "diode":
            canvas.place(bar(w, h * 0.35), metal, lift=1, bevel=1, gloss=0.6)
            canvas.place(bar(w * 0.66, h, corner=h * 0.4), body, lift=4, bevel=h * 0.4, gloss=gloss)
            canvas.paint(bar(w * 0.1, h * 0.96, -w * 0.2), mark, 0.9)
        elif what == "bead":
            canvas.place(bar(w, h, corner=r * 0.3), body, lift=3, bevel=r * 0.6, gloss=gloss)
            canvas.paint(at(circle(0, 0, r * 0.45)), second, 0.9)
        elif what in ("chip", "square"):
            inset = 4.5
            n = max(2, int((w - 6) / pitch))
            m = max(2, int((h - 6) / pitch))
            places = [((i - (n - 1) / 2) * pitch, side * (h / 2 - 2.5)) for i in range(n) for side in (-1, 1)]
            feet = [bar_at(pitch * 0.45, 7, 0, *place) for place in places]
            if what == "square" or legs_on:
                sides = [(side * (w / 2 - 2.5), (i - (m - 1) / 2) * pitch) for i in range(m) for side in (-1, 1)]
                across = [bar_at(7, pitch * 0.45, 0, *place) for place in sides]
                feet = feet + across if what == "square" else across
            canvas.place(at(*feet), metal, lift=1.5, bevel=1.2, gloss=0.6)
            tall, wide = (h - 2 * inset, w - 2 * inset)
            canvas.place(bar(wide, tall, corner=1.5), body, lift=5, bevel=2.5, gloss=gloss * 0.3)
            canvas.paint(at(circle(7 - wide / 2, 7 - tall / 2, 2.4)), mark, 0.6)
            if style == 1:
                canvas.tint(at(circle(-wide / 2, 0, min(tall * 0.14, 5))), 0.6)
            for k in range(lines):
                legend(min(tall * 0.22, 8), (k - (lines - 1) / 2) * min(tall * 0.34, 12))
        elif what == "can":
            if style:
                canvas.place(bar(w * 0.98, h * 0.98, corner=r * 0.2), body, lift=3, bevel=2)
            canvas.place(canvas.disc(x, y, r * 0.92), metal * 1.05, lift=8, bevel=r * 0.35, gloss=0.6)
            arc = [spoke(r * 0.88, angle + turn, x, y) for turn in range(-48, 49, 6)]
            canvas.paint(canvas.polygon(arc), body, 0.95)
            if style == 2:
                cross = [[spoke(r * 0.5, a, x, y), spoke(r * 0.5, a + 180, x, y)] for a in (angle + 30, angle + 120)]
                canvas.tint(canvas.stroke(cross, 1.5), 0.7)
        elif what == "coil":
            canvas.place(bar(w * 0.96, h * 0.96, corner=r * (0.2 + 0.3 * style)), body, lift=4, bevel=3, gloss=gloss)
            canvas.place(canvas.disc(x, y, r * 0.8, r * 0.38), second, lift=4, bevel=r * 0.2, gloss=gloss)
            rays = [[spoke(r * 0.4, a + angle, x, y), spoke(r * 0.78, a + angle + 8, x, y)] for a in range(0, 360, 20)]
            canvas.tint(canvas.stroke(rays, 1.3), 0.6)
        elif what == "crystal":
            canvas.place(bar(w, h, corner=h / 2), metal, lift=6, bevel=h * 0.25, gloss=0.7)
            canvas.lift(bar(w * 0.84, h * 0.66, corner=h * 0.33), 1.5, 2)
            legend(h * 0.32)
        elif what == "drop":
            canvas.place(canvas.disc(x, y, r), second, lift=8, bevel=r * 0.9, gloss=0.6)
            canvas.paint(at(bar_at(r * 0.3, r * 1.2, 0, -r * 0.45, 0)), _ink_on(second), 0.8)
        elif what == "header":
            canvas.place(bar(w, h, corner=1), body, lift=6, bevel=2, gloss=gloss * 0.4)
            count, rows = max(2, int(w / 11)), 2 if h > 17 else 1
            for i in range(count):
                for j in range(rows):
                    cx, cy = (i - (count - 1) / 2) * 10.5, (j - (rows - 1) / 2) * 10
                    canvas.tint(bar(7.5, 7.5, cx, cy), 0.6)
                    canvas.place(bar(4.5, 4.5, cx, cy), metal, lift=3, bevel=2, gloss=0.7)
        elif what == "relay":
            canvas.place(bar(w, h, corner=2), body, lift=10, bevel=2.5, gloss=gloss)
            canvas.lift(bar(w * 0.88, h * 0.82, corner=1), -1, 1.5)
            legend(min(h * 0.22, 9), -h * 0.14)
            if style:
                canvas.paint(bar(w * 0.5, h * 0.05, 0, h * 0.18), mark, 0.7)
        elif what == "socket":
            canvas.place(bar(w, h, corner=2), metal if style else body, lift=9, bevel=2, gloss=0.5)
            canvas.paint(bar(w * 0.8, h * 0.62, 0, h * 0.1), np.full(3, 24.0))
            canvas.place(bar(w * 0.6, h * 0.14, 0, h * 0.12), second, lift=1, bevel=1)
            pins = [bar_at(2, h * 0.12, 0, (i - 2) * w * 0.12, h * 0.12) for i in range(5)]
            canvas.paint(at(*pins), hsv(0.12, 0.5, 0.85))
            canvas.tint(bar(w * 0.18, h * 0.1, 0, -h * 0.36), 0.5)
        else:
            canvas.place(bar(w, h, corner=1), metal if style else body, lift=9, bevel=2, gloss=0.4)
            count = max(3, int(w / 8))
            gaps = [bar_at(2.6, h * 0.9, 0, (i - (count - 1) / 2) * w / count, 0) for i in range(count)]
            canvas.tint(at(*gaps), 0.5)

    return put


def module_board(rng: Rng, size: int) -> Canvas:
    """A board as it is made: bundles of faint tracks, repeated small parts in rows, and a few large ones."""
    c = Canvas.blank(backdrop(rng, size))
    real = rng.random() < 0.6
    hue = float(rng.choice([0.33, 0.38, 0.42, 0.6, 0.02, 0.13]))
    board = hsv(hue, rng.uniform(0.4, 0.9), rng.uniform(0.14, 0.6)) if real else against(rng, c.background)
    w, h = rng.uniform(170, 292), rng.uniform(130, 292)
    face = coloured(board, grainy(rng, size, rng.uniform(0.005, 0.03)))
    c.place(c.box(160, 160, w, h, 0, rng.uniform(0, 12)), face, lift=3, bevel=2, gloss=rng.uniform(0, 0.4))
    left, right, top, bottom = 160 - w / 2 + 8, 160 + w / 2 - 8, 160 - h / 2 + 8, 160 + h / 2 - 8
    faint = float(rng.choice([rng.uniform(1.12, 1.45), rng.uniform(0.65, 0.9)]))
    track = board * faint + (12 if faint > 1 else 0)
    upright, width = rng.random() < 0.5, rng.uniform(1.6, 3.2)
    for _ in range(int(rng.integers(1, 5))):  # Each a bundle that goes across the board and bends once or twice.
        n, step = int(rng.integers(2, 11)), rng.uniform(6, 24)
        low, high, start, end = (top, bottom, left, right) if not upright else (left, right, top, bottom)
        at = rng.uniform(low, high)
        bends = np.sort(rng.uniform(start + 20, end - 20, int(rng.integers(1, 4))))
        shifts = rng.choice([-1, 1], len(bends)) * rng.uniform(8, 30, len(bends))
        fan = rng.choice([0, 0, rng.uniform(-6, 8)])  # Bends lie on a slant.
        parted = rng.random() < 0.3  # Half of them go the other way, and they cross.
        for i in range(n):
            level, points = at + (i - (n - 1) / 2) * step, []
            points.append((start - 2, level))
            for bend, shift in zip(bends, shifts, strict=True):
                own = bend + i * fan
                move = -shift if parted and i >= n // 2 else shift
                points.append((own, level))
                level += move
                points.append((own + abs(move), level))
            points.append((end + 2, level))
            line = np.clip(np.array(points), [start, low], [end, high])
            c.paint(c.stroke(line[:, ::-1] if upright else line, width), track, 0.95)
        if rng.random() < 0.4:
            upright = not upright
    metal = hsv(float(rng.choice([0.12, 0.6])), rng.uniform(0, 0.5), rng.uniform(0.6, 0.9))
    silk, seat = _ink_on(board), board * (1.35 if board.mean() < 90 else 0.72)
    taken: list[tuple[float, float, float, float]] = []
    if rng.random() < 0.75:
        ring, corners = rng.uniform(7, 12), [(sx, sy) for sx in (-1, 1) for sy in (-1, 1)]
        for sx, sy in corners[: int(rng.choice([2, 4, 4, 4]))]:
            x, y = 160 + sx * (w / 2 - 16), 160 + sy * (h / 2 - 16)
            c.place(c.disc(x, y, ring), metal if rng.random() < 0.9 else board, lift=0.5, bevel=2, gloss=0.4)
            c.cut(c.disc(x, y, ring * 0.6))
            taken.append((x, y, 2 * ring + 4, 2 * ring + 4))

    def room(bw: float, bh: float) -> tuple[float, float] | None:
        for _ in range(20):
            x, y = rng.uniform(left + bw / 2, right - bw / 2), rng.uniform(top + bh / 2, bottom - bh / 2)
            if all(abs(x - a) > (bw + p) / 2 + 3 or abs(y - b) > (bh + q) / 2 + 3 for a, b, p, q in taken):
                taken.append((x, y, bw, bh))
                return float(x), float(y)
        return None

    framed, named = rng.random() < 0.4, rng.random() < 0.4

    def solder(draw: Stamp, x: float, y: float, bw: float, bh: float, turn: float) -> None:
        """Pads first, which show where the part is missing."""
        ends = [turned(bar_at(7, bh * 0.9, 1, s * (bw / 2 - 2), 0), turn, x, y) for s in (-1, 1)]
        c.place(c.polygon(*ends), metal, lift=0.4, bevel=1, gloss=0.4)
        c.paint(c.polygon(turned(rounded_box(bw * 0.6, bh * 0.8, 0), turn, x, y)), seat)
        if framed:
            frame = (
                turned(rounded_box(bw + 7, bh + 7, 0), turn, x, y),
                turned(rounded_box(bw + 4, bh + 4, 0), turn, x, y),
            )
            c.paint(c.polygon(*frame), silk, 0.8)
        if 30 < x < 290 and 30 < y < 290:
            c.components.append(Component(draw, x, y, max(min(bw, bh) * 0.55, 9), turn))
        else:
            draw(c, x, y, turn)

    for makes, low_n, high_n in ((_LARGE, 1, 4), (_MIDDLE, 1, 5)):
        for what in rng.choice(makes, int(rng.integers(low_n, high_n))):
            least, most, thin, thick = _EXTENT[str(what)]
            bw = rng.uniform(least, most)
            bh = bw * rng.uniform(thin, thick)
            draw, turn = _piece(rng, str(what), bw, bh, metal, board), float(rng.choice([0, 90]))
            span = (bw, bh) if turn == 0 else (bh, bw)
            copies = int(rng.integers(1, 4))  # Alike things stand side by side.
            across = rng.random() < 0.5
            gap = (span[0] if across else span[1]) + rng.uniform(3, 10)
            block = (span[0] + gap * (copies - 1), span[1]) if across else (span[0], span[1] + gap * (copies - 1))
            if block[0] > right - left or block[1] > bottom - top or (spot := room(*block)) is None:
                continue
            for k in range(copies):
                shift = (k - (copies - 1) / 2) * gap
                solder(draw, spot[0] + shift * across, spot[1] + shift * (not across), bw, bh, turn)
    tones = [_piece(rng, what, 22, 11, metal, board) for what in rng.choice(_SMALL, int(rng.integers(1, 4)))]
    scale = rng.uniform(0.8, 1.3)
    for _ in range(int(rng.integers(3, 10))):
        n, m = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        turn = float(rng.choice([0, 90]))
        gx, gy = (30 * scale, 20 * scale) if turn == 0 else (20 * scale, 30 * scale)
        if (spot := room(n * gx, m * gy)) is None:
            continue
        for k in range(n * m):
            x, y = spot[0] + (k % n - (n - 1) / 2) * gx, spot[1] + (k // n - (m - 1) / 2) * gy
            solder(tones[(k if n > 1 else 0) % len(tones)], x, y, 24, 11, turn)
        if named and (label := room(16, 8)):
            c.paint(c.text(str(rng.choice(list("RCDL"))) + str(rng.integers(1, 99)), *label, 6.5, 1), silk, 0.9)
    for _ in range(int(rng.integers(0, 12))):
        if spot := room(7, 7):
            c.paint(c.disc(*spot, 3), track if rng.random() < 0.5 else metal)
            c.paint(c.disc(*spot, 1.3), board * 0.4)
    if rng.random() < 0.4 and (spot := room(60, 14)):
        c.paint(c.text(any_word(rng, 3, 7, _MARKS), *spot, 9, 1.2), silk, 0.9)
    if not c.components:
        solder(_piece(rng, "chip", 50, 40, metal, board), 160, 160, 50, 40, 0)
    return c


def _notched(rng: Rng, c: Canvas, w: float, h: float, angle: float) -> None:
    """Clean cuts into the rim of a rectangle around the middle: what a counterpart is led by."""
    for _ in range(int(rng.choice([0, 1, 1, 1, 2, 3]))):
        side, along = int(rng.integers(4)), float(rng.choice([0, 0, rng.uniform(-0.35, 0.35)]))
        wide, deep = rng.uniform(8, 44), rng.uniform(5, 14)
        x, y = (along * w, (side - 0.5) * h) if side < 2 else ((side - 2.5) * w, along * h)
        bw, bh = (wide, 2 * deep) if side < 2 else (2 * deep, wide)
        corner = float(rng.choice([0, 0, min(bw, bh) / 2]))
        c.cut(c.polygon(turned(bar_at(bw, bh, corner, x, y), angle, 160, 160)))


def plug_face(rng: Rng, size: int) -> Canvas:
    """A plug, a header or a socket from the front: a keyed housing around rows of contacts."""
    c = Canvas.blank(backdrop(rng, size))
    plastic = against(rng, c.background)
    if rng.random() < 0.5:
        plastic = hsv(rng.random(), rng.uniform(0, 0.3), rng.uniform(0.1, 0.3))
        if abs(float(plastic.mean() - c.background.mean())) < 30:
            plastic = against(rng, c.background)
    form = int(rng.choice([0, 0, 0, 1, 2]))  # A box, a D, a round one.
    rows, columns = int(rng.integers(1, 5)), int(rng.integers(2, 13))
    pitch = float(np.clip(rng.uniform(0.7, 1.0) * 250 / max(columns, rows * 1.2), 16, 46))
    pitch_y = pitch * rng.uniform(0.9, 1.7)
    if rows * pitch_y > 200:
        pitch_y = 200 / rows
    w = min(columns * pitch + rng.uniform(14, 50), 292)
    h = min(rows * pitch_y + rng.uniform(20, 70), 280)
    if form == 2:
        w = h = float(np.clip(np.hypot(columns * pitch, rows * pitch_y) * 1.05 + 24, 120, 284))

    def outline(inset: float) -> NDArray:
        if form == 2:
            return circle(160, 160, w / 2 - inset)
        if form == 1:
            lean = min(14.0, h * 0.12)
            return np.array(
                [
                    (160 - w / 2 + inset, 160 - h / 2 + inset),
                    (160 + w / 2 - inset, 160 - h / 2 + inset),
                    (160 + w / 2 - inset - lean, 160 + h / 2 - inset),
                    (160 - w / 2 + inset + lean, 160 + h / 2 - inset),
                ]
            )
        return rounded_box(w - 2 * inset, h - 2 * inset, max(0.0, corner - inset)) + 160

    corner, wall = rng.uniform(0, 16), rng.uniform(5, 14)
    gloss = rng.uniform(0, 0.5)
    c.place(c.polygon(outline(0)), coloured(plastic, finish(rng, size)), lift=8, bevel=rng.uniform(2, 6), gloss=gloss)
    c.lift(c.polygon(outline(wall)), -rng.uniform(2, 6), 3)
    c.tint(c.polygon(outline(wall)), rng.uniform(0.55, 1.0))
    if form == 2:
        for turn in rng.uniform(0, 360, int(rng.integers(0, 3))):
            c.cut(c.polygon(turned(rounded_box(rng.uniform(10, 24), 2 * wall, 0), turn + 90, *spoke(w / 2, turn))))
    else:
        _notched(rng, c, w, h, 0)
    if rng.random() < 0.4:  # A key on the inside, or a latch outside.
        kx = 160 + float(rng.choice([0, rng.uniform(-0.3, 0.3)])) * w
        side = float(rng.choice([-1, 1]))
        level = 160 + side * (h / 2 - wall - 3) if rng.random() < 0.5 else 160 + side * (h / 2 + 4)
        if form != 2:
            tab = c.box(kx, level, rng.uniform(12, 40), rng.uniform(8, 13), 0, rng.uniform(0, 3))
            c.place(tab, plastic, lift=8, bevel=2.5, gloss=gloss)
    metal = hsv(float(rng.choice([0.125, 0.125, 0.6])), rng.uniform(0, 0.6), rng.uniform(0.6, 0.95))
    shape, thick = int(rng.integers(4)), pitch * rng.uniform(0.3, 0.5)
    hollow, shade = rng.random() < 0.3, plastic * (0.45 if plastic.mean() > 40 else 1.7)

    def contact(canvas: Canvas, x: float, y: float, angle: float) -> None:
        bw, bh = (
            (thick, thick) if shape < 2 else (thick * 0.5, thick * 1.2) if shape == 2 else (thick * 1.2, thick * 0.5)
        )
        body = canvas.disc(x, y, thick / 2) if shape == 1 else canvas.box(x, y, bw, bh, angle, 0.8)
        if hollow:
            canvas.place(body, shade * 0.6, lift=-3, bevel=2)
            canvas.paint(canvas.box(x, y, bw * 0.5, bh * 0.5, angle), metal, 0.9)
            return
        canvas.tint(canvas.box(x + 2, y + 2.5, bw * 1.1, bh * 1.1, angle), 0.65)
        canvas.place(body, metal * 0.8, lift=6, bevel=thick * 0.3, gloss=0.7)
        canvas.paint(canvas.box(x, y, bw * 0.5, bh * 0.5, angle), metal)

    seated, staggered = rng.random() < 0.7, rng.random() < 0.25
    seat = pitch * rng.uniform(0.55, 0.75)
    split = int(rng.integers(1, columns)) if columns > 5 and rng.random() < 0.25 else None
    for j in range(rows):
        for i in range(columns - (staggered and j % 2)):
            shift = 0.5 * pitch * (staggered and j % 2)
            aside = 0.0 if split is None else (0.35 * pitch if i >= split else -0.35 * pitch)
            x = 160 + (i - (columns - 1) / 2) * pitch + shift + aside
            y = 160 + (j - (rows - 1) / 2) * pitch_y
            if form == 2 and np.hypot(x - 160, y - 160) > w / 2 - wall - thick:
                continue
            if seated:
                c.paint(c.disc(x, y, seat / 2) if shape == 1 else c.box(x, y, seat, seat, 0, 1), shade)
            if 30 < x < 290 and 30 < y < 290:
                c.components.append(Component(contact, x, y, max(thick * 0.8, 8)))
            else:
                contact(c, x, y, 0)
    if not c.components:
        c.components.append(Component(contact, 160, 160, max(thick * 0.8, 8)))
    if rng.random() < 0.4 and form == 0 and h > 90:
        side = 1 if rng.random() < 0.5 else -1
        spot = (160 + rng.uniform(-0.25, 0.25) * w, 160 + side * (h / 2 - wall / 2))
        c.paint(c.text(any_word(rng, 1, 3, _MARKS), *spot, min(wall * 0.8, 9), 1), against(rng, plastic), 0.85)
    if rng.random() < 0.3:  # Ears with a screw each.
        for side in (-1, 1):
            x = 160 + side * min(w / 2 + 16, 140)
            c.place(c.box(x, 160, 36, min(h * 0.6, 60), 0, 4), plastic * 0.95, lift=3, bevel=3, gloss=gloss)
            c.place(c.disc(x + side * 2, 160, 9), metal, lift=3, bevel=4, gloss=0.5)
            c.tint(c.box(x + side * 2, 160, 13, 3, rng.uniform(0, 180)), 0.4)
    return c


def chip_package(rng: Rng, size: int) -> Canvas:
    """One packaged chip, large in the picture: body, legs or pads, a mark of the first pin, a notch, print."""
    c = Canvas.blank(backdrop(rng, size))
    body = np.full(3, rng.uniform(22, 70), np.float32) if rng.random() < 0.6 else any_colour(rng)
    if abs(float(body.mean() - c.background.mean())) < 30:
        body = against(rng, c.background)
    four = rng.random() < 0.5
    w = rng.uniform(120, 200)
    h = w * rng.uniform(0.85, 1.0) if four else w * rng.uniform(0.35, 0.8)
    metal = hsv(float(rng.choice([0.12, 0.6])), rng.uniform(0, 0.4), rng.uniform(0.6, 0.92))
    pitch, reach = rng.uniform(12, 34), rng.uniform(14, 36)
    foot, shoulder = pitch * rng.uniform(0.3, 0.55), rng.uniform(0.3, 0.7)

    def leg(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(
            canvas.polygon(turned(rounded_box(reach, foot, 1), angle, x, y)), metal, lift=2, bevel=2, gloss=0.6
        )
        near = bar_at(reach * shoulder, foot * 1.25, 0, -reach * (1 - shoulder) / 2, 0)
        canvas.place(canvas.polygon(turned(near, angle, x, y)), metal * 1.05, lift=2, bevel=2, gloss=0.6)

    for turn, along, away in ((90, w, h), (270, w, h), (0, h, w), (180, h, w))[: 4 if four else 2]:
        n = max(2, int((along - 10) / pitch))
        for i in range(n):
            x, y = turned([[away / 2 + reach / 2 - 2, (i - (n - 1) / 2) * pitch]], turn, 160, 160)[0]
            c.components.append(Component(leg, float(x), float(y), max(reach * 0.45, 8), turn))
    c.components = [p for p in c.components if 24 < p.x < 296 and 24 < p.y < 296] or c.components[:1]
    corner, gloss = rng.uniform(0, 10), rng.uniform(0, 0.4)
    face = coloured(body, grainy(rng, size, rng.uniform(0, 0.04), rng.uniform(1, 3)))
    c.place(c.box(160, 160, w, h, 0, corner), face, lift=7, bevel=rng.uniform(2, 9), gloss=gloss)
    if rng.random() < 0.4:
        c.lift(c.box(160, 160, w * 0.8, h * 0.8, 0, 3), rng.uniform(-2, 3), 3)
    mark = against(rng, body)
    if rng.random() < 0.7:
        c.lift(c.disc(160 - w / 2 + 16, 160 - h / 2 + 16, 6), -2.5, 3)
        c.tint(c.disc(160 - w / 2 + 16, 160 - h / 2 + 16, 5), rng.uniform(0.6, 1.5))
    if rng.random() < 0.5:
        notch, end = rng.uniform(6, 15), float(rng.choice([-1, 1]))
        spot = on_part(c, c.disc(160 + end * w / 2, 160, notch))
        c.lift(spot, -4, 3)
        c.tint(spot, 0.65)
    if rng.random() < 0.3:
        x, y = 160 + w / 2, 160 + h / 2 * float(rng.choice([-1, 1]))
        c.cut(
            c.polygon(
                np.array([(x + 1, y - np.sign(y - 160) * 16), (x + 1, y + 1), (x - 16, y + 1)])
                if y > 160
                else np.array([(x + 1, y + 16), (x + 1, y - 1), (x - 16, y - 1)])
            )
        )

    def line(words: str, height: float) -> Stamp:
        return lambda k, x, y, a: k.paint(writing_at(k, words, x, y, height, height * 0.12, a), mark, 0.85)

    n = int(rng.integers(1, 4))
    for i in range(n):
        height = min(h * 0.55 / n, w / 8, 26) * rng.uniform(0.6, 0.95)
        words = any_word(rng, 3, max(4, int(w * 0.72 / (0.95 * height))), _MARKS)[:10]
        c.prints.append(Component(line(words, height), 160, 160 + (i - (n - 1) / 2) * h * 0.62 / n, height * 1.3))
    if rng.random() < 0.4:
        c.prints.append(Component(makers_mark(rng, h * 0.1, mark), 160 + w * 0.33, 160 - h * 0.3, h * 0.1))
    return c


def terminal_block(rng: Rng, size: int) -> Canvas:
    """Clamps in a row: screws turned as they were left, entries for wires, levers, numbers, one odd pole."""
    c = Canvas.blank(backdrop(rng, size))
    plastic = against(rng, c.background)
    n, rows = int(rng.integers(2, 9)), int(rng.choice([1, 1, 2]))
    pitch = min(270 / n, rng.uniform(34, 70))
    w, h = n * pitch, min(rng.uniform(70, 130) * (1 if rows == 1 else 1.7), 250)
    gloss, ink = rng.uniform(0, 0.5), against(rng, plastic)
    metal = hsv(float(rng.choice([0.12, 0.6])), rng.uniform(0, 0.4), rng.uniform(0.6, 0.92))
    odd = int(rng.integers(n)) if rng.random() < 0.4 else -1
    other = against(rng, c.background)
    parted, r = rng.uniform(1, 4), min(pitch * rng.uniform(0.26, 0.38), 22)
    cross, kind, entry = int(rng.integers(3)), int(rng.integers(3)), int(rng.integers(3))
    grain = finish(rng, size)

    def screw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.disc(x, y, r), metal, lift=3, bevel=r * 0.4, gloss=0.5)
        for turn in (0, 90)[: 2 if cross else 1]:
            canvas.tint(canvas.box(x, y, r * (1.9 if cross == 0 else 1.2), r * 0.26, angle + turn), 0.35)

    def lever(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.box(x, y, pitch * 0.6, r * 2.2, angle, 3), other, lift=6, bevel=4, gloss=gloss)
        canvas.lift(canvas.box(x, y - r * 0.6, pitch * 0.42, r * 0.3, angle), -2, 1.5)

    for i in range(n):
        x = 160 + (i - (n - 1) / 2) * pitch
        tone = other if i == odd else plastic
        c.place(c.box(x, 160, pitch - parted, h, 0, 2), coloured(tone, grain), lift=7, bevel=3, gloss=gloss)
        for k in range(rows):
            side = 1 if k else -1
            y = 160 if rows == 1 and kind == 0 else 160 + side * h * (0.12 if rows == 1 else 0.22)
            if kind == 2:
                c.components.append(Component(lever, x, y, max(r, 9)))
            else:
                c.lift(c.disc(x, y, r * 1.25), -3, 2)
                c.tint(c.disc(x, y, r * 1.25), 0.6)
                c.components.append(Component(screw, x, y, max(r, 9), rng.uniform(0, 180)))
            hole = 160 + side * h * 0.38
            inside = (
                c.disc(x, hole, pitch * 0.22) if entry == 0 else c.box(x, hole, pitch * 0.5, h * 0.12, 0, 2 * entry)
            )
            c.paint(inside, tone * 0.3)
            c.lift(inside, -3, 2)
        if rng.random() < 0.8 or i == 0:
            number = str(i + 1)
            level = 160 + h * (0.28 if rows == 1 else 0.0)
            c.paint(c.text(number, x, level, min(pitch * 0.3, 12), 1.3), ink if i != odd else against(rng, other), 0.9)
    c.components = [p for p in c.components if 24 < p.x < 296 and 24 < p.y < 296] or c.components[:1]
    for side in (-1, 1):  # End plates, often of unlike shape.
        if rng.random() < 0.7:
            x, eh = 160 + side * (w / 2 + 5), h * rng.uniform(0.5, 1.1)
            c.place(c.box(x, 160, 12, eh, 0, 2), plastic * 0.9, lift=6, bevel=3, gloss=gloss)
            if rng.random() < 0.4:
                c.place(
                    c.box(x + side * 8, 160 + rng.uniform(-0.2, 0.2) * eh, 12, eh * 0.3, 0, 2), plastic * 0.9, lift=4
                )
    return c
