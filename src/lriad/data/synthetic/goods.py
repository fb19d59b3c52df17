"""The `parts` family's goods: fronts, cartons, sewn goods, joinery, trays and mouldings, each of many unlike things."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

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
from lriad.data.synthetic.materials import against, backdrop, finish, grainy
from lriad.data.synthetic.mixtures import any_word, bar_at, makers_mark, on_part, writing_at

Cell = tuple[float, float, float, float]
"""Centre, width and height of a rectangle."""

_MARKS = [*"ABCDEFGHKLMNOPRSTUVXYZ0123456789"]


def _cells(rng: Rng, area: Cell, wanted: int, least: float) -> list[Cell]:
    """A rectangle divided into about as many, none narrower than `least`."""
    cells = [area]
    for _ in range(4 * wanted):
        if len(cells) >= wanted:
            break
        k = int(np.argmax([w * h for _, _, w, h in cells])) if rng.random() < 0.7 else int(rng.integers(len(cells)))
        x, y, w, h = cells[k]
        share, across = rng.uniform(0.3, 0.7), (w > h) == (rng.random() < 0.8)
        if min(share, 1 - share) * (w if across else h) < least:
            continue
        if across:
            cut = [(x - w * (1 - share) / 2, y, w * share, h), (x + w * share / 2, y, w * (1 - share), h)]
        else:
            cut = [(x, y - h * (1 - share) / 2, w, h * share), (x, y + h * share / 2, w, h * (1 - share))]
        cells[k : k + 1] = cut
    return cells


def darker(colour: Floats, share: float = 0.4) -> Floats:
    """What a seat in a thing of that colour looks like; on black it is lighter instead."""
    return colour * share if colour.mean() > 65 else colour + 55


def unlike_bore(rng: Rng, colour: Floats, around: Floats) -> Floats:
    """The colour, or another where it looks like an empty bore: what is there must not look as if it were missing."""
    bore = float(darker(around, 0.3).mean())
    for _ in range(20):
        if abs(float(colour.mean()) - bore) > 40:
            break
        colour = against(rng, around)
    return colour


def depth_within(canvas: Canvas, region: Region) -> Floats:
    """How far each pixel of the region lies inside it, in units."""
    padded = np.pad((region.alpha > 0.5).astype(np.uint8), 1)
    depth: Floats = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The steps of the pixels would show as teeth along a wall.
    return cv2.GaussianBlur(depth, (0, 0), 1.2 * canvas.unit)[1:-1, 1:-1] / np.float32(canvas.unit)


def _rounded(points: ArrayLike, window: int) -> NDArray:
    """A closed outline of shape (160, 2) along the given corners, which a moving average of `window` rounds off."""
    corners = np.asarray(points, np.float64)
    closed = np.concatenate([corners, corners[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.linspace(0, along[-1], 160, endpoint=False)
    line = np.stack([np.interp(at, along, closed[:, i]) for i in (0, 1)], 1)
    wrapped = np.concatenate([line[-window:], line, line[:window]])
    kernel = np.ones(2 * window + 1) / (2 * window + 1)
    return np.stack([np.convolve(wrapped[:, i], kernel, "valid") for i in (0, 1)], 1)


# Fronts


def _knob(rng: Rng, r: float, panel: Floats) -> Stamp:
    """A knob with a pointer, fluted, skirted or winged."""
    body, top, pointer = against(rng, panel), any_colour(rng), rng.uniform(0, 360)
    style, gloss, cap = int(rng.integers(4)), rng.uniform(0, 0.7), rng.uniform(0.5, 0.8)
    ink, flutes = against(rng, body if style in (1, 3) else top), int(rng.integers(8, 22))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.tint(canvas.disc(x + 2, y + 3, r), 0.65)
        outline = circle(x, y, r)
        if style == 1:
            outline = turned(circle(0, 0, r) * 1.0, angle, x, y)
            wave = 1 + 0.06 * np.cos(np.arange(40) * 2 * np.pi * flutes / 40)
            outline = (outline - (x, y)) * wave[:, None] + (x, y)
        canvas.place(canvas.polygon(outline), body, lift=6, bevel=r * 0.25, gloss=gloss)
        if style == 3:
            wing = canvas.box(x, y, 1.8 * r, 0.55 * r, angle + pointer, r * 0.2)
            canvas.place(wing, body, lift=6, bevel=r * 0.2, gloss=gloss)
        elif style != 1:
            canvas.place(canvas.disc(x, y, r * cap), top, lift=5, bevel=r * 0.2, gloss=gloss)
        tip = spoke(r * 0.85, angle + pointer, x, y)
        canvas.paint(canvas.stroke([spoke(r * 0.35, angle + pointer, x, y), tip], max(2.0, r * 0.14)), ink, 0.95)

    return draw


def _button(rng: Rng, w: float, h: float, shape: int, colour: Floats) -> Stamp:
    """A key with a sign on it."""
    gloss, word, sign = rng.uniform(0, 0.6), any_word(rng, 1, 2, _MARKS), int(rng.integers(5))
    ink, lift, s = against(rng, colour), rng.uniform(3, 7), min(w, h)
    arrow = np.array([[-0.25, -0.3], [0.3, 0], [-0.25, 0.3]]) * s

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        body = canvas.disc(x, y, s / 2) if shape == 0 else canvas.box(x, y, w, h, angle, s * (0.08, 0.35)[shape - 1])
        canvas.place(body, colour, lift=lift, bevel=s * 0.2, gloss=gloss)
        if sign == 0 and s > 14:
            canvas.paint(writing_at(canvas, word, x, y, s * 0.42, 1.6, angle), ink, 0.95)
        elif sign == 1:
            canvas.paint(canvas.polygon(turned(arrow, angle, x, y)), ink, 0.95)
        elif sign == 2:
            canvas.paint(canvas.disc(x, y, s * 0.28, s * 0.18), ink, 0.95)
        elif sign == 3:
            canvas.paint(canvas.box(x, y, s * 0.6, s * 0.14, angle), ink, 0.95)

    return draw


def _socket(rng: Rng, w: float, h: float, metal: Floats) -> Stamp:
    """A round or long socket with contacts."""
    shell, inner, r = (metal if rng.random() < 0.6 else any_colour(rng)), rng.uniform(8, 45), min(w, h) / 2
    style, pins = int(rng.integers(4)), int(rng.integers(2, 8))
    core = any_colour(rng, (0.5, 0.95))

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        if style < 3:
            rim = circle(0, 0, r)[:: (1, 1, 5)[style]]
            canvas.place(canvas.polygon(turned(rim, angle, x, y)), shell, lift=4, bevel=2, gloss=0.6)
            canvas.paint(canvas.disc(x, y, r * 0.68), np.full(3, inner))
            if style == 1:
                dots = [circle(*spoke(r * 0.4, angle + 360 * i / pins, x, y), r * 0.1) for i in range(pins)]
                canvas.paint(canvas.polygon(*dots), core)
            else:
                canvas.place(canvas.disc(x, y, r * 0.34, r * 0.16), core, lift=2, bevel=1, gloss=0.5)
            return
        canvas.place(canvas.box(x, y, w, h, angle, 2), shell, lift=3, bevel=1.5, gloss=0.6)
        canvas.paint(canvas.box(x, y, w * 0.82, h * 0.7, angle, 1), np.full(3, inner))
        canvas.paint(canvas.box(x, y, w * 0.66, h * 0.22, angle), core, 0.9)

    return draw


def _lever(rng: Rng, w: float, h: float, metal: Floats, panel: Floats) -> Stamp:
    """A toggle or a rocker."""
    frame, key, on = against(rng, panel), any_colour(rng), float(rng.choice([-1, 1]))
    toggle, r = rng.random() < 0.5, min(w, h) / 2

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        if toggle:
            canvas.place(canvas.polygon(turned(circle(0, 0, r)[::7], angle, x, y)), metal, lift=3, bevel=2, gloss=0.6)
            canvas.paint(canvas.disc(x, y, r * 0.5), metal * 0.4)
            tip = spoke(on * r * 1.1, angle + 90, x, y)
            canvas.place(canvas.stroke([(x, y), tip], r * 0.6), metal, lift=5, bevel=r * 0.3, gloss=0.7)
            canvas.place(canvas.disc(*tip, r * 0.42), key, lift=4, bevel=r * 0.3, gloss=0.6)
            return
        canvas.place(canvas.box(x, y, w, h, angle, 2), frame, lift=3, bevel=2, gloss=0.3)
        canvas.place(canvas.box(x, y, w * 0.74, h * 0.8, angle, 1), key, lift=3, bevel=2, gloss=0.4)
        canvas.tint(canvas.box(*spoke(on * h * 0.2, angle + 90, x, y), w * 0.74, h * 0.4, angle), 0.6)

    return draw


def _display(rng: Rng, w: float, h: float, panel: Floats) -> Stamp:
    """A lit screen, or the scale of a meter, in its frame."""
    bezel, lit, style = against(rng, panel), rng.random() < 0.6, int(rng.integers(4))
    glass = hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.04, 0.25) if lit else rng.uniform(0.6, 0.9))
    ink = hsv(rng.random(), rng.uniform(0, 0.9), rng.uniform(0.8, 1)) if lit else glass * 0.2
    digits = any_word(rng, 2, 5, list("0123456789.:-"))
    size = min(h * 0.42, w * 0.8 / len(digits))
    small, bars = any_word(rng, 2, 3), rng.uniform(0.15, 1, int(rng.integers(4, 10)))
    wave = np.cumsum(rng.normal(0, 0.35, 24))
    wave = (wave - wave.mean()) / max(float(np.ptp(wave)), 0.5)
    needle = rng.uniform(-60, 60) - 90

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.box(x, y, w, h, angle, 3), bezel, lift=4, bevel=2.5, gloss=0.2)
        canvas.paint(canvas.box(x, y, w - 8, h - 8, angle, 1), glass)
        canvas.polish(canvas.box(x, y, w - 8, h - 8, angle, 1), 0.5)
        if style == 0:
            canvas.paint(writing_at(canvas, digits, x, y, size, max(1.3, size * 0.12), angle), ink, 0.95)
        elif style == 1:
            for i, v in enumerate(bars):
                bw = (w - 16) / len(bars)
                at = turned([[(i + 0.5) * bw - (w - 16) / 2, (h - 16) * (1 - v) / 2]], angle, x, y)[0]
                canvas.paint(canvas.box(at[0], at[1], bw * 0.7, (h - 16) * v, angle), ink, 0.95)
        elif style == 2:
            line = np.stack([np.linspace(-0.42, 0.42, 24) * w, wave * (h - 18)], 1)
            canvas.paint(canvas.stroke(turned(line, angle, x, y), 1.8), ink, 0.95)
        else:
            foot, reach = spoke(h * 0.36, angle + 90, x, y), min(h * 0.68, w * 0.48)
            ticks = [[spoke(reach * k, angle + a, *foot) for k in (0.85, 1)] for a in range(-150, -29, 20)]
            canvas.paint(canvas.stroke(ticks, 1.5), ink, 0.95)
            canvas.paint(canvas.stroke([foot, spoke(reach * 0.92, angle + needle, *foot)], 1.8), ink, 0.95)
        if style != 3 and h > 34:
            corner = turned([[16 - w / 2, 11 - h / 2]], angle, x, y)[0]
            canvas.paint(writing_at(canvas, small, corner[0], corner[1], 6, 1, angle), ink, 0.8)

    return draw


def _screw(rng: Rng, r: float, metal: Floats) -> Stamp:
    """The head of a screw."""
    cross, gloss = rng.random() < 0.5, rng.uniform(0.2, 0.7)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.disc(x, y, r), metal, lift=3, bevel=r * 0.5, gloss=gloss)
        for turn in (0, 90)[: 2 if cross else 1]:
            canvas.tint(canvas.box(x, y, r * 1.4, r * 0.28, angle + turn), 0.35)

    return draw


def device_front(rng: Rng, size: int) -> Canvas:
    """The front of an instrument: unlike displays, knobs, keys, sockets, switches, lamps and vents, with legends."""
    c = Canvas.blank(backdrop(rng, size))
    panel, full = against(rng, c.background), rng.random() < 0.4
    w, h = (336.0, 336.0) if full else (rng.uniform(190, 288), rng.uniform(150, 288))
    body = c.box(160, 160, w, h, 0, 0 if full else rng.uniform(0, 24))
    c.place(body, coloured(panel, finish(rng, size)), lift=6, bevel=rng.uniform(2, 6), gloss=rng.uniform(0, 0.4))
    metal = hsv(0.6 * rng.random(), rng.uniform(0, 0.3), rng.uniform(0.55, 0.95))
    area = (160.0, 160.0, min(w, 292) - 18, min(h, 292) - 18)
    screws = rng.random() < 0.5
    if screws:
        r, inset = rng.uniform(8.5, 11), rng.uniform(14, 18)
        stamp = _screw(rng, r, metal)
        for sx in (-1, 1):
            for sy in (-1, 1):
                x, y = 160 + sx * (min(w, 284) / 2 - inset), 160 + sy * (min(h, 284) / 2 - inset)
                c.paint(c.disc(x, y, r * 0.75), darker(panel, 0.25))
                c.components.append(Component(stamp, x, y, r, rng.uniform(0, 180)))
        area = (
            (160.0, 160.0, area[2] - 2 * inset - 8, area[3])
            if w > h
            else (160.0, 160.0, area[2], area[3] - 2 * inset - 8)
        )
    tones = [any_colour(rng) for _ in range(int(rng.integers(1, 4)))]
    below, height, weight = rng.random() < 0.6, rng.uniform(8, 10.5), rng.uniform(1.2, 2)
    framed, zones = rng.random() < 0.4, rng.random() < 0.5
    cells = _cells(rng, area, int(rng.integers(4, 11)), 44)
    order = [*rng.permutation([0, 1, 2, 3, 4, 5, 2, 1]), *rng.integers(0, 9, 8)]
    for k, (x, y, cw, ch) in enumerate(cells):
        kind, field = int(order[k]), panel
        if zones and rng.random() < 0.4:
            field = any_colour(rng)
            c.paint(c.box(x, y, cw - 3, ch - 3, 0, 3), coloured(field, grainy(rng, size, 0.01)))
        ink = against(rng, field)
        if framed:
            c.paint(c.polygon(bar_at(cw - 5, ch - 5, 4, x, y), bar_at(cw - 8, ch - 8, 3, x, y)), ink, 0.7)
        bw, bh, cy = cw - 14, ch - height - 18, y + (-1 if below else 1) * (height / 2 + 3)
        if bh < 16:
            continue
        dark = darker(field, 0.3)
        if kind == 0 and bw > 40:
            bw, bh = min(bw, 110), min(bh, 64)
            seat = c.box(x, cy, bw - 6, bh - 6)
            c.paint(seat, dark)
            c.lift(seat, -4, 2)
            c.components.append(Component(_display(rng, bw, bh, field), x, cy, max(bh / 2, 12)))
        elif kind in (0, 1):
            n = max(1, min(int(bw / (bh * 1.15)), 4, int(rng.integers(1, 5))))
            r = min(bw / n * 0.42, bh * 0.44, 34)
            stamp = _knob(rng, r, field)
            for i in range(n):
                px, other = x + (i - (n - 1) / 2) * bw / n, rng.random() < 0.4
                ticks = [[spoke(r * 1.05, a, px, cy), spoke(r * 1.2, a, px, cy)] for a in range(135, 406, 30)]
                c.paint(c.stroke(ticks, 1.3), ink, 0.9)
                c.paint(c.disc(px, cy, r * 0.6), dark)
                c.place(c.disc(px, cy, r * 0.28), metal, lift=2, bevel=2, gloss=0.4)
                turn = float(rng.choice([0, 30, 90, 200]))
                c.components.append(Component(_knob(rng, r, field) if other else stamp, px, cy, r, turn))
        elif kind == 2:
            shape, s = int(rng.integers(3)), rng.uniform(16, 30)
            nx, ny = max(1, min(int(bw / (s * 1.25)), 5)), max(1, min(int(bh / (s * 1.25)), 4))
            kw, kh = min(bw / nx * 0.8, s * 1.8), min(bh / ny * 0.8, s * 1.3)
            for i in range(nx * ny):
                px, py = x + (i % nx - (nx - 1) / 2) * bw / nx, cy + (i // nx - (ny - 1) / 2) * bh / ny
                seat = c.disc(px, py, min(kw, kh) / 2 + 1) if shape == 0 else c.box(px, py, kw + 2, kh + 2, 0, 2)
                c.paint(seat, dark)
                c.lift(seat, -3, 1.5)
                colour = tones[int(rng.integers(len(tones)))]
                if abs(float((colour - dark).mean())) < 35:
                    colour = against(rng, dark)
                stamp = _button(rng, kw, kh, shape, colour)
                c.components.append(Component(stamp, px, py, min(kw, kh) / 2))
        elif kind == 3:
            n = max(1, min(int(bw / 34), 4))
            sw, sh = min(bw / n * 0.84, 44), min(bh * 0.9, 34)
            for i in range(n):
                px = x + (i - (n - 1) / 2) * bw / n
                c.paint(c.disc(px, cy, min(sw, sh) * 0.44), dark)
                c.lift(c.disc(px, cy, min(sw, sh) * 0.44), -4, 2)
                c.components.append(Component(_socket(rng, sw, sh, metal), px, cy, min(sw, sh) / 2))
        elif kind == 4:
            n = max(1, min(int(bw / 30), 5))
            sw, sh = min(bw / n * 0.7, 24), min(bh * 0.8, 40)
            stamp = _lever(rng, sw, sh, metal, field)
            for i in range(n):
                px = x + (i - (n - 1) / 2) * bw / n
                c.paint(c.box(px, cy, sw * 0.9, min(sh, sw * 1.3), 0, 2), dark)
                c.components.append(Component(stamp, px, cy, sw / 2, float(rng.choice([0, 180]))))
        elif kind == 5:
            r = min(rng.uniform(8, 12), bh * 0.45)
            n, upright = max(1, min(int(bw / (3 * r)), 6)), bh > 2 * bw
            if upright:
                n = max(1, min(int(bh / (3 * r)), 5))
            for i in range(n):
                t = (i - (n - 1) / 2) * (bh if upright else bw) / n
                px, py = (x, cy + t) if upright else (x + t, cy)
                c.paint(c.disc(px, py, r * 0.9), dark)
                hue, bright = rng.choice([0.0, 0.08, 0.15, 0.35, 0.6]), rng.uniform(0.35, 1)
                lens = hsv(hue, rng.uniform(0.3, 1), bright if dark.mean() < 110 else bright * 0.5)

                def lamp(canvas: Canvas, x: float, y: float, angle: float, lens: Floats = lens, r: float = r) -> None:
                    canvas.place(canvas.disc(x, y, r), metal, lift=2, bevel=1.5, gloss=0.5)
                    canvas.place(canvas.disc(x, y, r * 0.78), lens, lift=4, bevel=r * 0.7, gloss=0.8)
                    canvas.paint(canvas.disc(x - r * 0.25, y - r * 0.25, r * 0.2), lens * 0.3 + 175, 0.8)

                c.components.append(Component(lamp, px, py, r))
        elif kind == 6:
            long, pitch = rng.random() < 0.6, rng.uniform(7, 11)
            if long:
                slots = [
                    bar_at(bw * 0.9, pitch * 0.45, pitch, x, cy + v) for v in np.arange(-bh / 2, bh / 2, pitch) + 4
                ]
            else:
                slots = [
                    circle(x + u, cy + v, pitch * 0.28)
                    for u in np.arange(-bw / 2, bw / 2, pitch) + 4
                    for v in np.arange(-bh / 2, bh / 2, pitch) + 4
                ]
            vent = c.polygon(*slots)
            c.paint(vent, dark * 0.5)
            c.lift(vent, -3, 1.5)
        elif kind == 7:
            plate = against(rng, field)
            c.place(c.box(x, cy, min(bw, 90), min(bh, 50), 0, 2), plate, lift=1, bevel=1.5, gloss=0.3)
            r = min(bw, 90, min(bh, 50)) * 0.36
            c.prints.append(Component(makers_mark(rng, r, against(rng, plate)), x, cy, r))
        else:
            track = min(bh, 90) - 14
            c.paint(c.box(x, cy, 5, track, 0, 2.5), dark * 0.5)
            marks = [
                [(x + s * 9, cy + v * track / 2), (x + s * 14, cy + v * track / 2)] for s in (-1, 1) for v in (-1, 0, 1)
            ]
            c.paint(c.stroke(marks, 1.3), ink, 0.9)
            cap, at = against(rng, field), cy + rng.uniform(-0.4, 0.4) * track
            c.place(c.box(x, at, 3, 8), metal, lift=2, bevel=1)

            def slide(canvas: Canvas, x: float, y: float, angle: float, cap: Floats = cap) -> None:
                canvas.place(canvas.box(x, y, 24, 13, angle, 2), cap, lift=6, bevel=3, gloss=0.3)
                canvas.tint(canvas.box(x, y, 24, 2.5, angle), 0.5)

            if bh > 40:
                c.components.append(Component(slide, x, at, 9))
        room = max(2, min(7, int((cw - 10) / (height * 0.95))))
        words = any_word(rng, min(3, room), room, _MARKS if rng.random() < 0.2 else _MARKS[:22])
        spot = y + (1 if below else -1) * (ch / 2 - height / 2 - 6)
        c.prints.append(Component(_text(words, height, weight, ink), x, spot, height))
    if len(c.components) < 4 or len(c.prints) < 2:  # A small front: two plain controls and its maker's mark.
        for x in (110.0, 210.0):
            c.paint(c.disc(x, 160, 10), darker(panel, 0.3))
            c.components.append(Component(_knob(rng, 20, panel), x, 160, 20))
            c.prints.append(Component(_text(any_word(rng, 3, 5), height, weight, against(rng, panel)), x, 190, height))
    return c


def _text(words: str, height: float, weight: float, ink: Floats) -> Stamp:
    """Letters."""
    return lambda canvas, x, y, angle: canvas.paint(writing_at(canvas, words, x, y, height, weight, angle), ink, 0.95)


# Cartons


def _picture(rng: Rng, r: float) -> Stamp:
    """A simple picture of few shapes, within a square of 2 r."""
    kind, tones = int(rng.integers(8)), [any_colour(rng, (0.3, 1)) for _ in range(3)]
    leaf = np.array([[0, 0], [0.35, -0.35], [0.9, -0.3], [0.5, 0.1]])
    n, slim = int(rng.integers(4, 9)), rng.uniform(0.2, 0.5)
    peak = rng.uniform(-0.4, 0.4)
    petals = [turned(circle(0.55, 0, 1) * (0.4, slim * 0.6), 360 * i / n) for i in range(n)]
    shapes = (
        [circle(0, 0.15, 0.75), leaf - (0.05, 0.4), circle(-0.25, -0.1, 0.16)],
        [
            rounded_box(2, 1.7, 0.1),
            circle(0.5, -0.45, 0.24),
            np.array([[-1, 0.85], [peak - 0.6, 0.1], [peak, -0.5], [1, 0.85]]),
        ],
        [
            circle(0.5, 0, 0.42),
            np.array([[-0.8, -0.7], [0.6, -0.7], [0.4, 0.8], [-0.6, 0.8]]),
            bar_at(1.8, 0.16, 0.1, 0, 0.9),
        ],
        [
            np.array([[-0.9, 0], [-0.3, -0.6], [0.5, -0.5], [0.95, 0], [0.4, 0.5], [-0.4, 0.6]]),
            bar_at(1.6, 0.08, 0, 0, 0),
        ],
        [circle(0, 0, 1) * (0.85, 0.45), np.array([[0.6, 0], [1, -0.5], [1, 0.5]]), circle(-0.5, -0.1, 0.1)],
        [*petals, circle(0, 0, 0.26)],
        [bar_at(0.7, 1.2, 0.2, 0, 0.35), bar_at(0.3, 0.6, 0.05, 0, -0.5), bar_at(0.7, 0.5, 0, 0, 0.4)],
        [circle(0, 0, 0.95), circle(0.1, 0.1, 0.7), circle(0.2, 0.2, 0.4)],
    )[kind]

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        for i, shape in enumerate(shapes):
            tone = tones[0] if kind == 5 and i < n else tones[min(i, 2) if kind != 5 else 1]
            canvas.paint(canvas.polygon(turned(shape * r, angle, x, y)), tone, 0.97)

    return draw


def _barcode(rng: Rng, w: float, h: float) -> Stamp:
    """Bars, with their number where there is room."""
    at = np.cumsum(rng.choice([2.0, 3.0, 4.5], 40))
    at, wide = at[at < w - 2] - w / 2, rng.choice([1.0, 1.6, 2.4], 40)
    number, ink = any_word(rng, 6, 8, list("0123456789")), any_colour(rng, (0.02, 0.2))
    tall = h - 8 if h > 22 else h

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        bars = [turned(bar_at(b, tall, 0, a, (tall - h) / 2), angle, x, y) for a, b in zip(at, wide, strict=False)]
        canvas.paint(canvas.polygon(*bars), ink, 0.95)
        if tall < h:
            foot = turned([[0, h / 2 - 3]], angle, x, y)[0]
            canvas.paint(writing_at(canvas, number, foot[0], foot[1], min(6, w / 8), 1, angle), ink, 0.9)

    return draw


def _decorate(c: Canvas, rng: Rng, face: Cell, tones: list[Floats]) -> None:
    """Print a face with fields, words, pictures and codes; what may go wrong with it has a field of its own."""
    x, y, w, h = face
    if rng.random() < 0.6:  # A large shape of another colour behind it all.
        style = int(rng.integers(4))
        at = rng.uniform(-0.4, 0.4) * h
        t = np.linspace(-0.5, 0.5, 20)
        edge = np.stack([x + t * w, y + at + rng.uniform(0, 0.12) * h * np.sin(rng.uniform(3, 9) * t)], 1)
        large = (
            c.polygon(np.concatenate([edge, [[x + w / 2, y + h / 2], [x - w / 2, y + h / 2]]])),
            c.polygon(np.array([[x - w / 2, y - h / 2], [x + w / 2, y - h / 2], [x - w / 2 + 0.2 * w, y + h / 2]])),
            c.disc(x, y + at, min(w, h) * 0.45),
            c.polygon(*(bar_at(w, h / 14, 0, x, y + k * h / 7) for k in range(-3, 4))),
        )[style]
        c.paint(on_part(c, large), tones[1], rng.uniform(0.4, 1))
    for cx, cy, cw, ch in _cells(rng, (x, y, w - 8, h - 8), int(rng.integers(3, 8)), 34):
        kind = int(rng.integers(8))
        if min(cw, ch) < 24:
            continue
        fw, fh = cw * rng.uniform(0.75, 0.94), ch * rng.uniform(0.7, 0.92)
        ground = tones[int(rng.integers(2, len(tones)))]
        ink, corner = against(rng, ground), rng.uniform(0, 0.3) * min(fw, fh)

        def field(
            fw: float, fh: float, cx: float = cx, cy: float = cy, tone: Floats = ground, r: float = corner
        ) -> None:
            c.paint(c.box(cx, cy, fw, fh, 0, r), tone, 0.97)

        add = c.prints.append if 30 < cx < 290 and 30 < cy < 290 else _print_on(c)
        if kind < 2:
            fh = min(fh, 50)
            field(fw, fh)
            words = any_word(rng, 3, 8)
            high = min(fh * 0.6, fw / len(words))
            add(Component(_text(words, high, max(1.3, high * rng.uniform(0.08, 0.2)), ink), cx, cy, max(high, 9)))
        elif kind < 4:
            r = min(fw, fh) * 0.42
            if rng.random() < 0.5:
                c.paint(c.disc(cx, cy, r * 1.15), ground)
            else:
                field(2.3 * r, 2.3 * r)
            add(Component(_picture(rng, r), cx, cy, r * 0.7))
        elif kind == 4:
            bw, bh = min(fw, 90), min(fh, 52)
            paper = np.full(3, rng.uniform(225, 250), np.float32)
            field(bw, bh, tone=paper, r=1)
            add(Component(_barcode(rng, bw - 10, bh - 8), cx, cy, min(bh, bw) * 0.4))
        elif kind == 5:  # Small print, some of it in a table.
            field(fw, fh)
            rows, table = max(2, int(fh / 9)), rng.random() < 0.4
            for i in range(rows):
                ly = cy + (i - (rows - 1) / 2) * fh * 0.86 / rows
                words = any_word(rng, 2, max(3, min(14, int(fw / 7))), [*"ABCDEFGHKLMNOPRSTUVXYZ", " "])
                c.paint(c.text(words, cx, ly, 5.2, 1), ink, 0.85)
                if table and i:
                    c.paint(c.box(cx, ly - fh * 0.43 / rows, fw * 0.9, 0.9), ink, 0.8)
        elif kind == 6:
            r = min(fw, fh) * 0.4
            c.paint(c.disc(cx, cy, r * 1.2), ground)
            add(Component(makers_mark(rng, r * 0.9, ink), cx, cy, r * 0.8))
        else:
            burst = circle(0, 0, 1) * min(fw, fh) * 0.48
            burst = burst * np.where(np.arange(40) % 2, 0.84, 1.0)[:, None] + (cx, cy)
            c.paint(c.polygon(burst), ground)
            words = any_word(rng, 2, 3, list("0123456789%"))
            add(Component(_text(words, min(fw, fh) * 0.3, 2.5, ink), cx, cy, min(fw, fh) * 0.25))
    if rng.random() < 0.5:
        width = rng.uniform(1.5, 4)
        inset = rng.uniform(3, 6)
        outer, inner = (
            bar_at(w - 2 * inset, h - 2 * inset, 3, x, y),
            bar_at(w - 2 * (inset + width), h - 2 * (inset + width), 2, x, y),
        )
        c.paint(c.polygon(outer, inner), tones[-1], 0.9)


def _print_on(c: Canvas) -> Callable[[Component], None]:
    """Draws a print for good."""
    return lambda mark: mark.draw(c, mark.x, mark.y, mark.angle)


def folding_carton(rng: Rng, size: int) -> Canvas:
    """A printed box or pouch: closed, seen over its edge, laid flat, or filled."""
    c = Canvas.blank(backdrop(rng, size))
    tones = [against(rng, c.background), *(any_colour(rng, (0.25, 1)) for _ in range(int(rng.integers(3, 6))))]
    board = coloured(tones[0], grainy(rng, size, rng.uniform(0, 0.02), 2))
    gloss, form = rng.uniform(0, 0.3), int(rng.integers(5))
    crease = 0.72 if tones[0].mean() > 70 else 1.5
    if form == 0:  # The whole picture is one face, perhaps with the edge of a flap.
        face = (160.0, 160.0, 330.0, 330.0)
        c.place(c.box(160, 160, 340, 340), board, lift=2, gloss=gloss)
        face = (160.0, 160.0, 300.0, 300.0)
        if rng.random() < 0.6:
            top = rng.uniform(40, 90)
            flap = np.array([[-5, -5], [325, -5], [325, top - 18], [300, top], [20, top], [-5, top - 18]])
            face = (160.0, (top + 312) / 2, 300.0, 300 - top)
            c.tint(c.polygon(flap + np.array([2, 4])), 0.7)
            c.place(c.polygon(flap), coloured(tones[1], grainy(rng, size, 0.01)), lift=3, bevel=2, gloss=gloss)
            words = any_word(rng, 3, 8)
            c.paint(c.text(words, 160, max(top / 2, 24), min(22, top * 0.4), 2), against(rng, tones[1]), 0.95)
        _decorate(c, rng, face, tones)
    elif form == 1:  # A box seen over its upper edge and one side.
        w, h = rng.uniform(150, 210), rng.uniform(150, 210)
        dx, dy = float(rng.choice([-1, 1])) * rng.uniform(24, 50), rng.uniform(24, 46)
        x, y = 160 - dx / 2, 160 + dy / 2
        left, right, top, foot = x - w / 2, x + w / 2, y - h / 2, y + h / 2
        lid = np.array([[left, top], [right, top], [right + dx, top - dy], [left + dx, top - dy]])
        edge = right if dx > 0 else left
        side = np.array([[edge, top], [edge + dx, top - dy], [edge + dx, foot - dy], [edge, foot]])
        c.place(c.polygon(lid), coloured(tones[int(rng.integers(2))] * 1.08, grainy(rng, size, 0.01)), lift=3, bevel=1)
        c.place(c.polygon(side), coloured(tones[int(rng.integers(2))] * 0.72, grainy(rng, size, 0.01)), lift=3, bevel=1)
        if rng.random() < 0.6:
            stripe = np.array([side[0] * (1 - k) + side[3] * k for k in (0.3, 0.5)])
            far = np.array([side[1] * (1 - k) + side[2] * k for k in (0.5, 0.3)])
            c.paint(c.polygon(np.concatenate([stripe, far])), tones[-1] * 0.75)
        seam = np.array([lid[0] * 0.5 + lid[3] * 0.5, lid[1] * 0.5 + lid[2] * 0.5])
        c.tint(c.stroke(seam, 1.5), crease)
        c.place(c.box(x, y, w, h), board, lift=3, bevel=1.5, gloss=gloss)
        _decorate(c, rng, (x, y, w, h), tones)
    elif form == 2:  # A blank laid flat: panels in a row, flaps above and below, a glue tab.
        n, high = int(rng.integers(2, 5)), rng.uniform(100, 170)
        widths = np.tile(rng.uniform(0.5, 1.5, 2), 2)[:n]
        widths *= 250 / widths.sum()
        x, ends = 160 - 125 - 4.0, []
        for k, pw in enumerate(widths):
            for s in (-1, 1):
                reach, taper = rng.uniform(0.25, 0.45) * min(pw, 90), rng.uniform(0, 0.2) * pw
                y = 160 + s * high / 2
                flap = np.array(
                    [[x + 1, y], [x + pw - 1, y], [x + pw - 1 - taper, y + s * reach], [x + 1 + taper, y + s * reach]]
                )
                c.place(c.polygon(flap), board if k % 2 or rng.random() < 0.5 else tones[1], lift=2, bevel=1)
            ends.append((x + pw / 2, pw))
            x += pw
        tab = np.array([[x, 160 - high / 2], [x + 14, 168 - high / 2], [x + 14, 152 + high / 2], [x, 160 + high / 2]])
        c.place(c.polygon(tab), coloured(hsv(0.09, 0.15, 0.8), grainy(rng, size, 0.03)), lift=2, bevel=1)
        c.place(c.box(156, 160, 250, high), board, lift=2, bevel=1, gloss=gloss)
        for k, (px, pw) in enumerate(ends):
            if k % 2 and rng.random() < 0.6:
                c.paint(c.box(px, 160, pw, high), tones[1 + k % 2])
            _decorate(c, rng, (px, 160, pw, high), tones)
            if k:
                fold = c.box(px - pw / 2, 160, 2.2, high)
                c.tint(fold, crease)
                c.lift(fold, -1.2, 1)
        for s in (-1, 1):
            c.tint(c.box(156, 160 + s * high / 2, 250, 2), crease)
    elif form == 3:  # A filled pouch between two crimped seals.
        w, h = rng.uniform(150, 250), rng.uniform(220, 288)
        waist = rng.uniform(0, 0.05) * w
        t = np.linspace(-1, 1, 30)
        rim = np.stack([w / 2 - waist * np.cos(t * np.pi / 2), t * h / 2], 1)
        body = c.polygon(np.concatenate([rim, rim[::-1] * (-1, 1)]) + 160)
        c.place(body, board, lift=3, bevel=3, gloss=rng.uniform(0.1, 0.6))
        gx, gy = grid(size)
        puff = np.clip(1 - ((gx - 160) / (w * 0.5)) ** 2, 0, 1) * np.clip(1 - ((gy - 160) / (h * 0.48)) ** 2, 0, 1)
        c.height += np.sqrt(puff) * np.float32(rng.uniform(6, 16) * c.unit) * c.part
        seal = rng.uniform(14, 24)
        _decorate(c, rng, (160, 160, w * 0.84, h - 2 * seal - 26), tones)
        pitch, upright = rng.uniform(3, 5), rng.random() < 0.5
        phase = np.cos(2 * np.pi * (gx if upright else gy) / pitch)
        for s in (-1, 1):
            strip = on_part(c, c.box(160, 160 + s * (h - seal) / 2, w + 4, seal))
            c.paint(strip, tones[int(rng.integers(2))], 0.6)
            c.tint(strip, 1 + np.float32(0.12) * phase)
            for _ in range(int(rng.integers(2, 6))):  # Folds that run out of the seal.
                px, reach = 160 + rng.uniform(-0.4, 0.4) * w, rng.uniform(14, 40)
                y = 160 + s * (h / 2 - seal)
                wrinkle = np.array([[px - 3, y], [px + 3, y], [px + rng.normal(0, 5), y - s * reach]])
                c.lift(on_part(c, c.polygon(wrinkle)), rng.uniform(1, 2.5), 2.5)
    else:  # A closed box from above: two flaps meet under a strip of tape or a label.
        w, h = rng.uniform(200, 288), rng.uniform(180, 288)
        c.place(c.box(160, 160, w, h, 0, 2), board, lift=5, bevel=2, gloss=gloss)
        cut = 160 + rng.uniform(-0.15, 0.15) * h
        _decorate(c, rng, (160, (cut + 160 + h / 2) / 2, w - 4, 160 + h / 2 - cut), tones)
        _decorate(c, rng, (160, (cut + 160 - h / 2) / 2, w - 4, cut - 160 + h / 2), tones)
        gap = c.box(160, cut, w, rng.uniform(1.5, 4))
        c.paint(gap, tones[0] * 0.3)
        c.lift(gap, -2, 1)
        if rng.random() < 0.7:
            tape = on_part(c, c.box(160 + rng.normal(0, 30), cut, rng.uniform(50, 90), rng.uniform(26, 40)))
            c.paint(tape, any_colour(rng, (0.5, 0.95)), rng.uniform(0.4, 0.9))
            c.polish(tape, 0.5)
    while len(c.prints) < 2:  # A plain box still has its maker's mark, twice.
        x, y = rng.uniform(110, 210, 2)
        plate = any_colour(rng, (0.6, 0.98))
        c.paint(c.disc(x, y, 22), plate)
        c.prints.append(Component(makers_mark(rng, 16, against(rng, plate)), x, y, 14))
    return c


# Sewn goods


def _cloth(rng: Rng, size: int, colour: Floats) -> tuple[Floats, Floats]:
    """Leather, canvas, felt, webbing, suede or quilting: its colours of shape (3, S, S), and its relief in units."""
    kind = int(rng.integers(6))
    x, y = grid(size)
    if kind == 0:
        grain = clouds(rng, size, rng.uniform(5, 14), 3)
        return coloured(colour, 1 + rng.uniform(0.02, 0.06) * grain), 0.35 * grain
    if kind == 1:
        pitch = rng.uniform(4.5, 9)
        u, v = (2 * np.pi / pitch * (a + 0.6 * noise(rng, size, 60)) for a in (x, y))
        weave = np.sin(u) * np.sin(v) + 0.3 * noise(rng, size, 4)
        return coloured(colour, 1 + np.float32(rng.uniform(0.05, 0.12)) * weave), 0.4 * weave
    if kind == 2:
        hair = noise(rng, size, 9, 1.5) + noise(rng, size, 1.5, 9)
        return coloured(colour, 1 + rng.uniform(0.03, 0.07) * hair), 0.15 * hair
    if kind == 3:
        pitch, lean = rng.uniform(5, 10), rng.uniform(0.3, 1.2) * rng.choice([-1, 1])
        rib = np.sin(2 * np.pi * (x + np.float32(lean) * y) / np.float32(pitch))
        return coloured(colour, 1 + rng.uniform(0.06, 0.14) * rib), 0.4 * rib
    if kind == 4:
        nap = clouds(rng, size, rng.uniform(20, 50), 4)
        return coloured(colour, 1 + rng.uniform(0.03, 0.08) * nap), 0.05 * nap
    pitch = rng.uniform(22, 40)
    swell = np.abs(np.sin(np.pi * (x + y) / pitch) * np.sin(np.pi * (x - y) / pitch))
    return coloured(colour, 0.85 + 0.2 * swell * grainy(rng, size, 0.02)), 3 * np.sqrt(swell)


def _steps(path: ArrayLike, pitch: float) -> NDArray:
    """Points along a path at equal distances, with the direction there in degrees, of shape (N, 3)."""
    line = np.asarray(path, np.float64)
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.arange(pitch / 2, along[-1], pitch)
    x, y = (np.interp(at, along, line[:, i]) for i in (0, 1))
    ahead = [np.interp(at + 1, along, line[:, i]) - np.interp(at - 1, along, line[:, i]) for i in (0, 1)]
    return np.stack([x, y, np.degrees(np.arctan2(ahead[1], ahead[0]))], 1)


def _seam(c: Canvas, rng: Rng, path: ArrayLike, yarn: Floats, loose: bool) -> None:
    """Stitches along a path; where `loose`, runs of them can be missing."""
    pitch, width, style = rng.uniform(8, 14), rng.uniform(2, 3), int(rng.integers(5))
    if loose:
        pitch, width = rng.uniform(11, 14), rng.uniform(3, 4.2)
    at = _steps(path, pitch)
    half, lean, across = pitch * rng.uniform(0.32, 0.4), rng.uniform(15, 45), rng.uniform(3, 5)
    turns = ((0.0,), (lean,), (0.0,), (50.0, -50.0), (0.0,))[style]
    lines = []
    for k, (x, y, a) in enumerate(at):
        own = []
        for turn in (55.0 * (-1) ** k,) if style == 4 else turns:
            reach = half * (1.25 if style == 4 else 1)
            for off in (-across, across) if style == 2 else (0.0,):
                ox, oy = spoke(off, a + 90, x, y)
                own.append([spoke(-reach, a + turn, ox, oy), spoke(reach, a + turn, ox, oy)])
        lines.append(own)
    if not lines:
        return
    every = np.array(lines)
    ends = every.reshape(-1, 2)
    c.tint(c.polygon(*(circle(x, y, width * 0.55)[::8] for x, y in ends)), 0.3 if yarn.mean() > 60 else 0.55)

    def run(some: NDArray) -> Stamp:
        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            placed = turned(some.reshape(-1, 2), angle, x, y).reshape(-1, 2, 2)
            canvas.tint(canvas.stroke(placed + np.array([0.8, 1.2]), width * 1.2), 0.6)
            stitches = canvas.stroke(placed, width)
            canvas.paint(stitches, yarn, 0.97)
            canvas.lift(stitches, 1.5, 1.5)

        return draw

    for start in range(0, len(every), 5):
        group = every[start : start + 5].reshape(-1, 2, 2)
        x, y = group.mean((0, 1))
        stamp = run(group - (x, y))
        if loose and len(every) - start >= 4 and 30 < x < 290 and 30 < y < 290:
            c.components.append(Component(stamp, float(x), float(y), 11))
        else:
            stamp(c, float(x), float(y), 0)


def _fitting(rng: Rng, r: float, cloth: Floats) -> Stamp:
    """A rivet, an eyelet, a snap or a stud."""
    metal, style, gloss = unlike_bore(rng, against(rng, cloth), cloth), int(rng.integers(5)), rng.uniform(0.2, 0.8)
    second, bore = any_colour(rng), rng.uniform(0.4, 0.55)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.tint(canvas.disc(x + 1.5, y + 2, r * 1.05), 0.6)
        if style == 0:
            canvas.place(canvas.disc(x, y, r, r * bore), metal, lift=4, bevel=r * 0.25, gloss=gloss)
            canvas.paint(canvas.disc(x, y, r * bore), metal * 0.1)
            return
        rim = turned(circle(0, 0, r)[::5], angle, x, y) if style == 4 else circle(x, y, r)
        canvas.place(canvas.polygon(rim), metal, lift=4, bevel=r * 0.7, gloss=gloss)
        if style == 1:
            canvas.lift(canvas.disc(x, y, r * 0.6), -2, r * 0.2)
            canvas.place(canvas.disc(x, y, r * 0.3), second, lift=3, bevel=2, gloss=gloss)
        elif style == 2:
            canvas.tint(canvas.disc(x, y, r * 0.72, r * 0.6), 0.6)

    return draw


def _piece(rng: Rng, a: float, b: float) -> NDArray:
    """The outline of a piece of cloth, about 2 a by 2 b, around the origin."""
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    slope = rng.uniform(0.4, 0.9)
    corners = (
        rounded_box(2 * a, 2 * b, rng.uniform(0.02, 0.6) * min(a, b)),
        np.array([[-a, -b], [a, -b], [a, b * slope - b * 0.3], [0, b], [-a, b * slope - b * 0.3]]),
        np.array([[-a * slope, -b], [a * slope, -b], [a, b], [-a, b]]),
        np.stack([a * np.cos(t), b * np.sin(t)], 1),
        np.array([[-a, -b], [a * slope, -b], [a, 0], [a * slope, b], [-a, b]]),
        wobbly(rng, 0, 0, 1, 0.12, waves=3) * (a, b),
    )[int(rng.integers(6))]
    return _rounded(corners, int(rng.integers(1, 8)))


def stitched_patch(rng: Rng, size: int) -> Canvas:
    """Pieces of leather, felt, canvas or webbing, sewn and riveted together."""
    c = Canvas.blank(backdrop(rng, size))
    ground, full = against(rng, c.background), rng.random() < 0.45
    colours, relief = _cloth(rng, size, ground)
    yarn = against(rng, ground)
    spare = (_cloth(rng, size, any_colour(rng)), _cloth(rng, size, against(rng, ground)))
    unit = np.float32(c.unit)

    def sew(region: Region, goods: tuple[Floats, Floats], lift: float) -> None:
        c.place(region, goods[0], lift=lift, bevel=3)
        flat = region.alpha
        c.height[region.rows, region.cols] += flat * goods[1][region.rows, region.cols] * unit

    def cover(region: Region) -> None:
        """What a piece is sewn over stays under it."""
        under = [t for t in c.components if _covers(c, region, t.x, t.y, 30)]
        for t in under:
            t.draw(c, t.x, t.y, t.angle)
        c.components = [t for t in c.components if t not in under]

    seat = 0.35 if ground.mean() > 70 else 1.7

    def rivet(x: float, y: float, r: float, draw: Stamp) -> None:
        if not (32 < x < 288 and 32 < y < 288) or any(np.hypot(x - t.x, y - t.y) < r + t.radius for t in c.components):
            return
        c.tint(c.disc(x, y, r * 0.9), 0.75)
        hole = c.disc(x, y, r * 0.55)
        c.tint(hole, seat)
        c.lift(hole, -2, 1.5)
        c.components.append(Component(draw, x, y, r))

    seams: list[NDArray] = []
    if full:
        sew(c.box(160, 160, 340, 340), (colours, relief), 2)
        turn = float(rng.choice([0, 90])) + rng.normal(0, 12)
        for k in range(int(rng.integers(1, 3))):
            t = np.linspace(-240, 240, 60)
            side = (-1) ** k * rng.uniform(30, 110)
            bow = side + rng.uniform(-30, 30) * np.sin(t / rng.uniform(50, 140) + rng.uniform(0, 6))
            edge = turned(np.stack([t, bow], 1), turn, 160, 160)
            beyond = turned([[240, np.sign(side) * 420], [-240, np.sign(side) * 420]], turn, 160, 160)
            c.tint(c.stroke(edge, 7), 0.7)
            sew(c.polygon(np.concatenate([edge, beyond])), spare[k], 4)
            seams.append(turned(np.stack([t, bow + np.sign(side) * rng.uniform(7, 11)], 1), turn, 160, 160))
    else:
        a, b = rng.uniform(90, 138), rng.uniform(60, 138)
        shape, turn = _piece(rng, a, b), rng.normal(0, 8) + float(rng.choice([0, 90]))
        sew(c.polygon(turned(shape, turn, 160, 160)), (colours, relief), 5)
        inset = turned(shape * (1 - 11 / a, 1 - 11 / b), turn, 160, 160)
        seams.append(np.concatenate([inset, inset[:1]]))
        if rng.random() < 0.3:
            inset = turned(shape * (1 - 34 / a, 1 - 34 / b), turn, 160, 160)
            seams.append(np.concatenate([inset, inset[:1]]))
    for k, seam in enumerate(seams):
        _seam(c, rng, seam, yarn, k == 0 or rng.random() < 0.3)
    r = rng.uniform(8.5, 13)
    fitting, spots = _fitting(rng, r, ground), list[tuple[float, float]]()
    for k in range(int(rng.integers(0, 3))):  # Patches.
        a, b = rng.uniform(26, 62 if full else 42, 2)
        x, y = 160 + rng.uniform(-1, 1, 2) * (70 if full else 28)
        shape, turn = _piece(rng, a, b), rng.normal(0, 15)
        outline = turned(shape, turn, x, y)
        c.tint(on_part(c, c.polygon(outline + 2.5)), 0.65)
        body = on_part(c, c.polygon(outline))
        cover(body)
        sew(body, spare[(k + 1) % 2], 3.5)
        ring = turned(shape * (1 - 7 / a, 1 - 7 / b), turn, x, y)
        _seam(c, rng, np.concatenate([ring, ring[:1]]), against(rng, ground), rng.random() < 0.4)
        if rng.random() < 0.5:
            spots += [
                tuple(turned([[sx * (a - 22), sy * (b - 22)]], turn, x, y)[0]) for sx in (-1, 1) for sy in (-1, 1)
            ]
        elif rng.random() < 0.7:
            mark = makers_mark(rng, min(a, b) * 0.38, any_colour(rng))
            mark(c, x, y, 0)
    if rng.random() < 0.5:  # A strap.
        turn, wide, off = float(rng.choice([0, 90])) + rng.normal(0, 10), rng.uniform(26, 48), rng.uniform(-60, 60)
        x, y = spoke(off, turn + 90)
        long = 420.0 if full else rng.uniform(130, 200)
        strap = c.box(x, y, long, wide, turn, rng.uniform(0, wide / 2))
        c.tint(c.box(x + 2, y + 3, long, wide, turn), 0.7)
        cover(strap)
        sew(strap, spare[int(rng.integers(2))], 4)
        for s in (-1, 1):
            line = turned(
                np.array([[-long / 2 + 8, s * (wide / 2 - 5)], [long / 2 - 8, s * (wide / 2 - 5)]]), turn, x, y
            )
            _seam(c, rng, line, yarn, False)
        spots += [spoke(d, turn, x, y) for d in np.arange(-120, 121, rng.uniform(34, 60)) if abs(d) < long / 2 - 16]
    if len(spots) < 4:
        form = rng.integers(3)
        away = rng.uniform(34, 80)
        spots += [
            [spoke(away, 45 + 90 * i) for i in range(4)],
            [(160 + (i - 1.5) * 44, 160 + away) for i in range(4)],
            [(160 + away * sx, 160 + s * 24.0) for s in (-1, 1) for sx in (-1, 1)],
        ][form]
    for x, y in spots:
        if _covers(c, Region(slice(0, size), slice(0, size), c.part), x, y, 6):
            rivet(float(x), float(y), r, fitting)
    return c


def _covers(c: Canvas, region: Region, x: float, y: float, reach: float) -> bool:
    """Whether any of a small square around a point lies in the region."""
    low = [int((v - reach) * c.unit) for v in (y, x)]
    high = [int((v + reach) * c.unit) + 1 for v in (y, x)]
    rows = slice(max(0, low[0] - region.rows.start), max(0, high[0] - region.rows.start))
    cols = slice(max(0, low[1] - region.cols.start), max(0, high[1] - region.cols.start))
    return bool((region.alpha[rows, cols] > 0.5).any())


# Joinery


def _timber(rng: Rng, size: int) -> Floats:
    """Grain along x with at most three knots, a factor of each channel: shape (3, S, S)."""
    x, y = grid(size)
    warp = rng.uniform(3, 9) * noise(rng, size, 160, 50)
    mark = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        kx, ky, r = rng.uniform(0, 320), rng.uniform(0, 320), rng.uniform(4, 9)
        near = np.exp(-(((x - kx) / (4 * r)) ** 2) - ((y - ky) / (1.8 * r)) ** 2)
        warp += np.sign(y - ky) * 1.6 * r * near
        d = ((x - kx) / (1.4 * r)) ** 2 + ((y - ky) / r) ** 2
        mark += np.exp(-d * d) * np.float32(rng.uniform(0.3, 0.6)) * (1 + 0.25 * np.cos(5 * np.sqrt(d)))
    pitch = rng.uniform(5, 18)
    rings = np.sin(2 * np.pi * (y + warp) / np.float32(pitch) + noise(rng, size, 200, 30))
    pores = noise(rng, size, 50, 1.4)
    grain = rng.uniform(0.03, 0.12) * rings + rng.uniform(0.02, 0.06) * pores + 0.03 * noise(rng, size, 200, 40)
    depth = np.array([0.7, 1.0, 1.25], np.float32)[:, None, None]
    return np.clip(1 + (grain - mark) * depth, 0.15, 1.5).astype(np.float32)


def _plank(c: Canvas, rng: Rng, region: Region, tone: Floats, timber: Floats, across: bool, gloss: float) -> None:
    """A board of a tone, its grain taken from anywhere in a sheet of timber."""
    by = rng.integers(0, c.size, 2)
    sheet = timber.transpose(0, 2, 1) if across else timber
    # Back and forth over the sheet, so that the grain has no break.
    rows, cols = (
        c.size - 1 - np.abs(c.size - 1 - (np.arange(side.start, side.stop) + at) % (2 * c.size - 2))
        for side, at in zip((region.rows, region.cols), by, strict=True)
    )
    own = tone[:, None, None] * sheet[:, rows[:, None], cols[None]]
    # A board is stiff: what it lies on does not show through it.
    under = c.height[region.rows, region.cols]
    inner = under[region.alpha > 0.99]
    under += region.alpha * ((np.median(inner) if inner.size else 0) - under)
    c.place(region, tone, lift=4, bevel=float(rng.choice([1.2, 2, 4])), gloss=gloss)
    view = c.albedo[:, region.rows, region.cols]
    view += region.alpha * (own - view)


def _wood_tone(rng: Rng) -> Floats:
    """A wood, stained or limewashed now and then."""
    if rng.random() < 0.12:
        return any_colour(rng, (0.35, 0.9))
    return hsv(rng.normal(0.085, 0.015), rng.uniform(0.15, 0.7), rng.uniform(0.3, 0.95))


def _peg(rng: Rng, r: float, tone: Floats) -> Stamp:
    """A dowel, a plug, a key or the cap of a screw."""
    colour, style, rings = against(rng, tone), int(rng.integers(4)), rng.uniform(0.05, 0.15)
    waist, wood = rng.uniform(0.35, 0.6), _wood_tone(rng)
    if abs(float((wood - tone).mean())) > 40:
        colour = wood
    colour = unlike_bore(rng, colour, tone)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        if style == 3:  # A key like a bow tie.
            tie = np.array([[-1.3, -0.9], [0, -waist], [1.3, -0.9], [1.3, 0.9], [0, waist], [-1.3, 0.9]]) * r
            canvas.place(canvas.polygon(turned(tie, angle, x, y)), colour, lift=1.5, bevel=1.5)
        elif style == 2:
            canvas.place(canvas.box(x, y, 1.8 * r, 1.8 * r, angle), colour, lift=2, bevel=2)
        else:
            canvas.place(canvas.disc(x, y, r), colour, lift=1.5, bevel=2 if style else r * 0.5)
        for k in (0.3, 0.6):
            canvas.tint(canvas.disc(x, y, r * k, r * (k - 0.12)), 1 - rings)

    return draw


def wood_joinery(rng: Rng, size: int) -> Canvas:
    """Boards and slats of unlike woods, joined, pegged and varnished."""
    c = Canvas.blank(backdrop(rng, size))
    sheets, gloss = [_timber(rng, size) for _ in range(2)], float(rng.choice([0, rng.uniform(0.1, 0.6)]))
    tones = [_wood_tone(rng) for _ in range(int(rng.integers(1, 5)))]
    for _ in range(12):
        if abs(float(tones[0].mean()) - float(c.background.mean())) > 40:
            break
        c = Canvas.blank(backdrop(rng, size))
    form, turn, full = int(rng.integers(6)), float(rng.choice([0, 90])), rng.random() < 0.45
    reach = 340.0 if full else rng.uniform(230, 284)
    uneven = rng.uniform(0, 0.12)

    def board(x: float, y: float, w: float, h: float, across: bool, tone: Floats | None = None) -> Floats:
        """A rectangle in the frame that is turned as a whole."""
        px, py = turned([[x, y]], turn, 160, 160)[0]
        own = (tones[int(rng.integers(len(tones)))] if tone is None else tone) * rng.uniform(1 - uneven, 1 + uneven)
        _plank(c, rng, c.box(px, py, w, h, turn, 1), own, sheets[int(rng.integers(2))], across != (turn == 90), gloss)
        return own

    spots: list[tuple[float, float]] = []
    half = reach / 2
    r = rng.uniform(8.5, 12)
    if form == 0:  # Slats on rails.
        n = int(rng.integers(3, 9))
        pitch = reach / n
        rails = (-reach * rng.uniform(0.26, 0.34), reach * rng.uniform(0.26, 0.34))
        for x in rails:
            board(x, 0, rng.uniform(24, 44), reach, True)
        wide = pitch * rng.uniform(0.7, 0.96)
        for i in range(n):
            y = (i - (n - 1) / 2) * pitch
            board(rng.normal(0, 0 if full else 3), y, reach, wide * rng.uniform(0.94, 1), False)
            spots += [(x, y) for x in rails]
    elif form == 1:  # A frame around a panel.
        rail, stile = rng.uniform(34, 54), rng.uniform(34, 54)
        reach = min(reach, 268)
        half, high = reach / 2, reach * rng.uniform(0.7, 1) / 2
        panel = tones[int(rng.integers(len(tones)))]
        n = int(rng.integers(1, 5))
        for i in range(n):
            pw = (reach - 2 * stile) / n
            board((i - (n - 1) / 2) * pw, 0, pw - 0.8, 2 * high - 2 * rail, True, panel)
        for s in (-1, 1):
            board(0, s * (high - rail / 2), reach, rail, False)
            board(s * (half - stile / 2), 0, stile, 2 * high - (0 if rng.random() < 0.5 else 2 * rail), True)
        spots = [
            (sx * (half - stile / 2), sy * (high - rail * k)) for sx in (-1, 1) for sy in (-1, 1) for k in (0.25, 0.75)
        ]
        r = min(r, 0.21 * rail + 1.5)
    elif form == 2:  # Fingers or dovetails between two boards.
        n, deep = int(rng.integers(3, 7)), rng.uniform(30, 60)
        first, second = tones[0], against(rng, tones[0]) if len(tones) == 1 else tones[1]
        if abs(float((first - second).mean())) < 25:
            second = second * 0.65
        flare, high = rng.uniform(0, 0.2), reach * rng.uniform(0.7, 1)
        board(-half / 2 + deep / 2, 0, half + deep, high, False, first)
        board(half / 2, 0, half, high, rng.random() < 0.5, second)
        for i in range(n):
            y, f = (i - (n - 1) / 2) * high / n, high / n / 4
            tail = np.array([[0, y - f * (1 - flare)], [deep, y - f * (1 + flare)], [deep, y + f * (1 + flare)]])
            tail = turned(np.concatenate([tail, [[0, y + f * (1 - flare)]]]), turn, 160, 160)
            _plank(c, rng, c.polygon(tail), first, sheets[0], turn == 90, gloss)
            edge = np.concatenate([tail, tail[:1]])
            c.tint(c.stroke(edge, 1.3), 0.5)
        spots = [(s * half * k, (i - 0.5) * high * 0.5) for s, k in ((-1, 0.3), (-1, 0.7), (1, 0.6)) for i in (0, 1)]
    elif form == 3:  # Strips glued in staggered rows.
        n = int(rng.integers(4, 9))
        pitch = reach / n
        for i in range(n):
            cuts = np.sort(np.append(rng.uniform(-half + 30, half - 30, int(rng.integers(1, 4))), [-half, half]))
            for a, b in pairwise(cuts):
                board((a + b) / 2, (i - (n - 1) / 2) * pitch, b - a - 0.7, pitch - 0.7, False)
        away = reach * rng.uniform(0.25, 0.36)
        spots = [(sx * away, sy * away) for sx in (-1, 1) for sy in (-1, 1)]
    elif form == 4:  # A herringbone or a chequer of short pieces.
        side = rng.uniform(40, 70)
        n = int(reach / side) if not full else 9
        for i in range(n):
            for j in range(n):
                x, y = (i - (n - 1) / 2) * side, (j - (n - 1) / 2) * side
                strips = 2 if side > 52 else 1
                for k in range(strips):
                    o = (k - (strips - 1) / 2) * side / strips
                    if (i + j) % 2:
                        board(x, y + o, side - 0.8, side / strips - 0.8, False)
                    else:
                        board(x + o, y, side / strips - 0.8, side - 0.8, True)
        away = side * max(1, n // 2 - 1) * (1.0 if n % 2 else 0.5)
        away = min(away, 110)
        spots = [(sx * away, sy * away) for sx in (-1, 1) for sy in (-1, 1)]
    else:  # Boards that meet at a corner or cross each other, lapped and pegged.
        wide, other = rng.uniform(60, 110, 2)
        off, aside = (rng.uniform(-60, 60) for _ in range(2))
        board(0, off, reach, wide, False, tones[0])
        tone = tones[-1] if len(tones) > 1 else tones[0] * 0.8
        start = off - wide / 2 if rng.random() < 0.4 else -half
        px, py = turned([[aside + 3, 3]], turn, 160, 160)[0]
        c.tint(c.box(px, py, other, reach, turn), 0.75)
        board(aside, (start + half) / 2, other, half - start, True, tone)
        q = min(wide, other) / 2 - 16
        spots = [(aside + sx * q, off + sy * q) for sx in (-1, 1) for sy in (-1, 1)]
        if rng.random() < 0.5:
            spots += [(aside + s * (other / 2 + 26), off) for s in (-1, 1)]
    seen = c.albedo
    peg, common = _peg(rng, r, seen[:, :: size // 8, :: size // 8].mean((1, 2))), float(rng.choice([0, 45, 90]))
    mixed = rng.random() < 0.3
    for x, y in spots:
        px, py = (float(v) for v in turned([[x, y]], turn, 160, 160)[0])
        if not (30 < px < 290 and 30 < py < 290) or any(np.hypot(px - t.x, py - t.y) < 2 * r for t in c.components):
            continue
        row, col = int(py * c.unit), int(px * c.unit)
        local = seen[:, row - 4 : row + 4, col - 4 : col + 4].mean((1, 2))
        own = _peg(rng, r, local) if mixed or abs(float(local.mean())) < 30 else peg
        bore = c.disc(px, py, r * 0.72)
        c.paint(bore, local * 0.25 if local.mean() > 70 else local + 70)
        c.lift(bore, -3, 2)
        c.components.append(Component(own, px, py, r, common + turn))
    for away in np.arange(20, 120, 8.0):  # Where fewer than four found room.
        for px, py in (spoke(away, 45 + 90 * i) for i in range(4)):
            free = all(np.hypot(px - t.x, py - t.y) > 3 * r for t in c.components)
            if free and len(c.components) < 4 and c.part[int(py * c.unit), int(px * c.unit)] > 0.9:
                c.paint(c.disc(px, py, r * 0.72), tones[0] * 0.2)
                c.components.append(Component(peg, px, py, r, common + turn))
    if rng.random() < 0.3:  # A maker's brand or a pencil mark.
        x, y = rng.uniform(90, 230, 2)
        if (
            all(np.hypot(x - t.x, y - t.y) > 40 for t in c.components)
            and c.part[int(y * c.unit), int(x * c.unit)] > 0.9
        ):
            word = any_word(rng, 2, 5)
            c.paint(on_part(c, writing_at(c, word, x, y, rng.uniform(10, 16), 1.8, turn)), hsv(0.06, 0.4, 0.15), 0.7)
    return c


# Trays


def _article(rng: Rng, kind: int, long: float, wide: float, bed: Floats) -> Stamp:
    """One thing of a laboratory: the first four stand upright, the others lie along x."""
    colour, second, gloss = against(rng, bed), any_colour(rng), rng.uniform(0.2, 0.8)
    glass = bed * 0.35 + np.array([190, 205, 210], np.float32) * rng.uniform(0.45, 0.62)
    if abs(float((glass - bed).mean())) < 30:
        glass = bed * 0.65 if bed.mean() > 120 else bed + 60
    fluid, level, style = any_colour(rng, (0.4, 0.95)), rng.uniform(0.3, 0.8), int(rng.integers(3))
    r, marks, bore = wide / 2, int(rng.integers(4, 10)), rng.uniform(0.3, 0.6)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        def bar(a: float, b: float, w: float, radius: float = 0.0) -> Region:
            """From a to b along the thing, both as shares of half its length."""
            middle = bar_at((b - a) * long / 2, w, radius, (a + b) * long / 4, 0)
            return canvas.polygon(turned(middle, angle, x, y))

        if kind < 4:
            canvas.tint(canvas.disc(x + 2, y + 3, r), 0.65)
        else:
            canvas.tint(canvas.box(x + 1.5, y + 2.5, long * 0.9, wide * 0.6, angle, r * 0.4), 0.7)
        if kind == 0:  # A vial: a crimped ring around rubber.
            canvas.place(canvas.disc(x, y, r), colour, lift=6, bevel=r * 0.25, gloss=gloss)
            canvas.place(canvas.disc(x, y, r * bore), second, lift=-1, bevel=2)
            canvas.tint(canvas.disc(x, y, r * 0.86, r * 0.78), 0.7)
        elif kind == 1:  # A screw cap with flutes.
            wave = 1 + 0.05 * np.cos(np.arange(40) * np.pi)
            canvas.place(
                canvas.polygon(circle(0, 0, r) * wave[:, None] + (x, y)), colour, lift=7, bevel=r * 0.2, gloss=gloss
            )
            canvas.lift(canvas.disc(x, y, r * 0.75), -2, 3)
            canvas.paint(canvas.disc(x, y, r * 0.4, r * 0.28 if style else 0), second, 0.9)
        elif kind == 2:  # An open tube.
            canvas.place(canvas.disc(x, y, r), glass, lift=5, bevel=2, gloss=gloss)
            canvas.paint(canvas.disc(x, y, r * 0.78), fluid * 0.7)
            canvas.paint(canvas.disc(x, y, r * 0.78 * level), fluid)
        elif kind == 3:  # A plug with edges, or a well of powder.
            hexagon = circle(0, 0, r)[:: (5, 10, 1)[style]]
            canvas.place(canvas.polygon(turned(hexagon, angle, x, y)), colour, lift=5, bevel=3, gloss=gloss)
            canvas.place(canvas.disc(x, y, r * 0.5), second, lift=3, bevel=r * 0.3, gloss=gloss)
        elif kind == 4:  # A syringe.
            canvas.place(bar(-1, -0.4, wide * 0.24), second, lift=2, bevel=1.5)
            canvas.place(bar(-1, -0.92, wide * 0.8, 2), second, lift=4, bevel=2)
            canvas.place(bar(-0.5, -0.44, wide, 2), colour, lift=4, bevel=2)
            canvas.place(bar(-0.44, 0.55, wide * 0.62, 2), glass, lift=5, bevel=wide * 0.3, gloss=0.8)
            canvas.paint(bar(-0.44 + 0.7 * level, 0.52, wide * 0.5, 2), fluid, 0.75)
            canvas.paint(bar(-0.5 + 0.7 * level, -0.4 + 0.7 * level, wide * 0.54), second * 0.3)
            canvas.place(bar(0.55, 0.68, wide * 0.34), colour, lift=3, bevel=2)
            canvas.place(bar(0.68, 1, wide * 0.12), np.full(3, 190.0), lift=2, bevel=1, gloss=0.6)
            ticks = [
                turned([[v * long / 2, 0], [v * long / 2, wide * 0.25]], angle, x, y)
                for v in np.linspace(-0.2, 0.4, marks)
            ]
            canvas.paint(canvas.stroke(ticks, 1), bed * 0.2, 0.8)
        elif kind == 5:  # An ampoule.
            neck = np.array([[-1, -0.3], [0.2, -0.3], [0.35, -0.12], [0.5, -0.18], [0.95, -0.06]])
            hull = np.concatenate([neck, neck[::-1] * (1, -1)]) * (long / 2, wide * 1.2)
            canvas.place(canvas.polygon(turned(hull, angle, x, y)), glass, lift=5, bevel=wide * 0.3, gloss=0.9)
            canvas.paint(bar(-0.96, -0.96 + level, wide * 0.56, 2), fluid, 0.7)
            canvas.paint(bar(0.3, 0.37, wide * 0.34), colour, 0.9)
            if style:
                canvas.paint(bar(-0.7, -0.2, wide * 0.66), second, 0.9)
        elif kind == 6:  # A dropper or a pipette.
            canvas.place(bar(-1, -0.35, wide * 0.8, wide * 0.35), colour, lift=6, bevel=wide * 0.35, gloss=gloss)
            canvas.place(bar(-0.4, -0.28, wide * 0.95, 1), second, lift=5, bevel=2, gloss=gloss)
            tip = np.array([[-0.28, -0.24], [0.5, -0.2], [1, -0.06], [1, 0.06], [0.5, 0.2], [-0.28, 0.24]]) * (
                long / 2,
                wide,
            )
            canvas.place(canvas.polygon(turned(tip, angle, x, y)), glass, lift=3, bevel=wide * 0.2, gloss=0.8)
        elif kind == 7:  # A swab.
            canvas.place(bar(-0.95, 0.7, wide * 0.2), colour, lift=2, bevel=1.5)
            canvas.place(bar(0.45, 1, wide * 0.62, wide * 0.3), np.full(3, 238.0), lift=5, bevel=wide * 0.3)
            canvas.paint(bar(-0.95, -0.7, wide * 0.34), second)
        else:  # A conical tip or a tube with a cap.
            cone = np.array([[-0.7, -0.42], [0.1, -0.34], [1, -0.07], [1, 0.07], [0.1, 0.34], [-0.7, 0.42]]) * (
                long / 2,
                wide,
            )
            canvas.place(canvas.polygon(turned(cone, angle, x, y)), glass, lift=5, bevel=wide * 0.3, gloss=0.8)
            canvas.paint(bar(0.2 - 0.6 * level, 0.6, wide * 0.3, 3), fluid, 0.7)
            canvas.place(bar(-1, -0.66, wide * 0.94, 2), colour, lift=6, bevel=3, gloss=gloss)
            if style:
                canvas.paint(bar(-0.55, -0.2, wide * 0.7), second, 0.9)

    return draw


def syringe_tray(rng: Rng, size: int) -> Canvas:
    """A tray of unlike medical or laboratory things, row by row in nests."""
    c = Canvas.blank(backdrop(rng, size))
    tray, full = against(rng, c.background), rng.random() < 0.35
    w, h = (340.0, 340.0) if full else (rng.uniform(240, 290), rng.uniform(210, 290))
    body = c.box(160, 160, w, h, 0, 0 if full else rng.uniform(2, 28))
    c.place(body, coloured(tray, finish(rng, size)), lift=6, bevel=5, gloss=rng.uniform(0, 0.5))
    if rng.random() < 0.5:
        c.lift(c.box(160, 160, min(w, 310) - 12, min(h, 310) - 12, 0, 8), -4, 4)
    w, h = min(w, 290) - 18, min(h, 290) - 18
    upright = rng.random() < 0.5  # Lanes stand, or lie.
    along, span = (h, w) if upright else (w, h)
    lanes = int(rng.integers(2, 5))
    shares = rng.uniform(0.7, 1.3, lanes)
    shares *= span / shares.sum()
    kinds = [int(rng.integers(4, 9)), *(int(k) for k in rng.permutation(9)[: lanes - 1])]
    if len(set(kinds)) == 1:
        kinds[-1] = (kinds[-1] + 3) % 9
    kinds = [kinds[i] for i in rng.permutation(lanes)]
    bed, flip = darker(tray, rng.uniform(0.5, 0.72)), float(rng.choice([0, 180]))
    nest, start = int(rng.integers(2)), 160 - span / 2
    look = 0
    for lane, kind in zip(shares, kinds, strict=True):
        middle = start + lane / 2
        start += lane
        across = kind < 4 or rng.random() < 0.6  # Long things lie across the lane, side by side.
        if kind < 4:
            wide = long = min(lane * rng.uniform(0.68, 0.86), along / 3.6, 62)
            step = max(wide * rng.uniform(1.12, 1.4), 1.0)
        elif across:
            long = lane * rng.uniform(0.84, 0.94)
            wide = min(max(long * rng.uniform(0.22, 0.4), 17), 34)
            step = wide * rng.uniform(1.2, 1.6)
        else:
            wide = min(lane * 0.8, 36)
            long = min(max(wide * rng.uniform(3, 5), 60), along / 1.6)
            step = long * 1.08
        rows = max(1, int(lane / (wide * 1.2))) if (kind >= 4 and not across) or (kind < 4 and lane > 2.3 * wide) else 1
        n = min(int((along - max(0.0, (long if not across else wide) - step)) / step), 10)
        n = max(n, 1)
        pair = rng.random() < 0.3 and n > 1  # Two sorts in turn.
        stamps = [_article(rng, kind, long, wide, bed) for _ in range(1 + pair)]
        for i in range(n * rows):
            t = (i % n - (n - 1) / 2) * (along - (step - (long if not across else wide)) * 0.5) / n
            o = (i // n - (rows - 1) / 2) * lane / rows
            x, y = (middle + o, 160 + t) if upright else (160 + t, middle + o)
            angle = (0.0 if across == upright else 90.0) + flip
            seat = (
                c.disc(x, y, wide * 0.56)
                if kind < 4 and nest
                else c.box(x, y, long + 6, wide + 5, angle, 4 if nest == 0 else wide * 0.4)
            )
            c.paint(seat, bed)
            c.lift(seat, -4, 3)
            mine = i % n % 2 if pair else 0
            turn = rng.normal(0, 1.2)
            thing = Component(stamps[mine], x, y, max(wide / 2, 9), angle + turn, look + mine)
            if 30 <= x <= 290 and 30 <= y <= 290:
                c.components.append(thing)
            else:
                thing.draw(c, x, y, thing.angle)
        look += 2
    if len({thing.look for thing in c.components}) < 2:  # Too little room for a second kind: one of another colour.
        x, y = 160.0, 160.0
        c.components.append(Component(_article(rng, 1, 30, 30, bed), x, y, 15, 0, look))
    return c


# Mouldings


def _hull(rng: Rng, a: float, b: float) -> NDArray:
    """Any outline that a mould may have, within 2 a by 2 b around the origin."""
    kind, s = int(rng.integers(8)), rng.uniform(0.3, 0.6)
    n = int(rng.integers(3, 9))
    t = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    lobes = int(rng.integers(3, 7))
    bow = np.linspace(np.radians(-210), np.radians(30), 40)
    bend = np.stack([np.cos(bow), np.sin(bow)], 1)
    outline = (
        lambda: np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]),
        lambda: np.array([[-1, -1], [1, -1], [1, 2 * s - 1], [2 * s - 1, 2 * s - 1], [2 * s - 1, 1], [-1, 1]]),
        lambda: np.array([[-1, -1], [1, -1], [1, -s], [s, -s], [s, 1], [-s, 1], [-s, -s], [-1, -s]]),
        lambda: turned(np.array([spoke(1, 360 * i / n, 0, 0) for i in range(n)]), rng.uniform(0, 90)),
        lambda: np.stack([np.cos(t), np.sin(t)], 1) * (0.82 + 0.16 * np.cos(lobes * t))[:, None],
        lambda: np.concatenate([bend, bend[::-1] * rng.uniform(0.3, 0.45)]),
        lambda: np.array([[-1, -s], [-s, -1], [1, -1], [1, s], [s, 1], [-1, 1]]),
        lambda: wobbly(rng, 0, 0, 0.9, 0.2, waves=3),
    )[kind]()
    smooth = _rounded(outline, int(rng.integers(1, 9)))
    return smooth / np.abs(smooth).max(0) * (a, b)


def moulded_cap_set(rng: Rng, size: int) -> Canvas:
    """Plastic mouldings of any outline, with ribs, bosses and their inserts, snap hooks, windows and marks."""
    c = Canvas.blank(backdrop(rng, size))
    nx, ny = ((1, 1), (1, 1), (2, 1), (1, 2), (2, 2))[int(rng.integers(5))]
    a, b = 268 / nx / 2 * rng.uniform(0.78, 0.97), 268 / ny / 2 * rng.uniform(0.7, 0.97)
    alike = rng.random() < 0.5
    hull, colour, gloss = _hull(rng, a, b), against(rng, c.background), rng.uniform(0, 0.6)
    clear, wall, deep = rng.random() < 0.25, rng.uniform(5, 10), rng.uniform(2, 6)
    pattern, pitch, turn = int(rng.integers(6)), rng.uniform(20, 44), float(rng.choice([0, 45, 90, rng.uniform(0, 90)]))
    rib, recessed, r = rng.uniform(3, 6), rng.random() < 0.75, rng.uniform(8.5, 12)
    metal, hooks = hsv(rng.choice([0.12, 0.6]), rng.uniform(0, 0.5), rng.uniform(0.6, 0.95)), int(rng.integers(0, 5))
    texture, count = grainy(rng, size, rng.uniform(0, 0.04), rng.uniform(0.6, 3)), int(rng.integers(2, 6))
    gx, gy = grid(size)

    def insert(colour: Floats) -> Stamp:
        style, own = int(rng.integers(4)), metal if rng.random() < 0.6 else against(rng, colour)
        if abs(float((own - colour).mean())) < 35:
            own = against(rng, colour)

        def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
            rim = circle(0, 0, r)[:: (1, 5, 1, 10)[style]]
            canvas.place(canvas.polygon(turned(rim, angle, x, y)), own, lift=3, bevel=2.5, gloss=0.5)
            if style < 2:
                canvas.paint(canvas.disc(x, y, r * 0.45), own * 0.25)
            elif style == 2:
                canvas.tint(canvas.disc(x, y, r * 0.6, r * 0.45), 0.6)
            else:
                canvas.tint(canvas.box(x, y, r * 1.2, r * 0.3, angle), 0.5)

        return draw

    for k in range(nx * ny):
        x, y = 160 + (k % nx - (nx - 1) / 2) * 272 / nx, 160 + (k // nx - (ny - 1) / 2) * 272 / ny
        if k and not alike:
            hull, colour = _hull(rng, a, b), against(rng, c.background)
            pattern, clear = int(rng.integers(6)), rng.random() < 0.3
        elif k and rng.random() < 0.4:
            colour = against(rng, c.background)
        outline = hull + np.array([x, y])
        shell = coloured(colour, texture)
        if clear:
            shell = 0.45 * c.background + 0.55 * shell
            colour = 0.45 * c.background.mean((1, 2)) + 0.55 * colour
        body = c.polygon(outline)
        c.place(body, shell, lift=7, bevel=rng.uniform(2, 5), gloss=gloss)
        depth, rows, cols = depth_within(c, body), body.rows, body.cols
        floor = Region(rows, cols, np.clip((depth - np.float32(wall)) * np.float32(c.unit), 0, 1))
        if recessed:
            c.height[rows, cols] -= np.float32(deep * c.unit) * np.clip((depth - wall) / 3, 0, 1)
            c.tint(floor, 0.9)
        dx, dy = gx[rows, cols] - np.float32(x), gy[rows, cols] - np.float32(y)
        u = dx * np.float32(np.cos(np.radians(turn))) + dy * np.float32(np.sin(np.radians(turn)))
        v = dy * np.float32(np.cos(np.radians(turn))) - dx * np.float32(np.sin(np.radians(turn)))
        far: Floats = np.full_like(u, 99)
        if pattern == 0:
            far = np.abs((u / pitch) % 1 - 0.5) * pitch
        elif pattern == 1:
            far = np.minimum(np.abs((u / pitch) % 1 - 0.5), np.abs((v / pitch) % 1 - 0.5)) * pitch
        elif pattern == 2:
            far = np.abs((depth / pitch) % 1 - 0.5) * pitch
        elif pattern == 3:
            spokes = int(rng.integers(4, 10))
            angle = np.arctan2(v, u) * np.float32(spokes / (2 * np.pi))
            far = np.abs(angle % 1 - 0.5) * 2 * np.pi / spokes * np.hypot(u, v)
        elif pattern == 4:
            far = np.minimum(np.abs(u), np.abs(v))
        ridge = floor.alpha * np.clip((rib / 2 - far) * c.unit + 0.5, 0, 1)
        ribs = Region(rows, cols, ridge.astype(np.float32))
        c.lift(ribs, deep, rib / 2)
        c.tint(ribs, 1.12 if colour.mean() < 190 else 0.93)
        # Free places inside, apart from each other.
        taken: list[tuple[float, float, float]] = []

        def room(
            need: float,
            depth: Floats = depth,
            taken: list[tuple[float, float, float]] = taken,
            rows: slice = rows,
            cols: slice = cols,
        ) -> tuple[float, float] | None:
            free = np.flatnonzero(depth > need + 3)
            for i in rng.choice(free, 20) if len(free) else ():
                row, col = divmod(int(i), depth.shape[1])
                px, py = (col + cols.start + 0.5) / c.unit, (row + rows.start + 0.5) / c.unit
                inside = 32 < px < 288 and 32 < py < 288
                if inside and all(np.hypot(px - p, py - q) > need + s + 4 for p, q, s in taken):
                    taken.append((px, py, need))
                    return px, py
            return None

        stamp, least = insert(colour), -(-4 // (nx * ny))
        for _ in range(max(count if nx * ny == 1 else count // 2, least)):
            spot = room(r + 4) or room(r)
            if spot is None:
                continue
            c.place(c.disc(*spot, r + 3.5), shell, lift=4, bevel=2, gloss=gloss)
            bore = c.disc(*spot, r * 0.75)
            c.paint(bore, darker(colour, 0.3))
            c.lift(bore, -4, 2)
            c.components.append(Component(stamp, *spot, r, float(rng.choice([0, 30, 45]))))
        for _ in range(int(rng.integers(0, 3))):  # Windows.
            s = rng.uniform(8, 22)
            if spot := room(s):
                long = rng.uniform(0.5, 1.3)
                window = (
                    c.disc(*spot, s * 0.8)
                    if rng.random() < 0.4
                    else c.box(*spot, s * long, s, turn, rng.uniform(0, s / 2))
                )
                c.cut(window)
        if rng.random() < 0.4 and (spot := room(18)):  # A clear or coloured lens let in.
            tone = 0.5 * c.background.mean((1, 2)) + 0.5 * any_colour(rng)
            c.place(c.box(*spot, 30, 20, turn, 4), tone, lift=1, bevel=3, gloss=0.8)
        ink = darker(colour, 0.72) if colour.mean() > 65 else colour + 30
        if spot := room(12):  # The mark of the material.
            for i in range(3):
                p, q = spoke(11, 120 * i - 90, *spot), spoke(11, 120 * i + 30, *spot)
                side = [(p[0] * (1 - s) + q[0] * s, p[1] * (1 - s) + q[1] * s) for s in (0.12, 0.8)]
                c.paint(c.stroke(side, 1.8), ink, 0.9)
                c.paint(c.disc(*side[1], 2.2), ink, 0.9)
            c.paint(c.text(str(rng.integers(1, 8)), *spot, 7, 1.2), ink, 0.9)
        for _ in range(int(rng.integers(1, 4))):
            if spot := room(9):
                if rng.random() < 0.5:  # Where the plastic was let in, or pushed out.
                    s = rng.uniform(3, 7)
                    c.lift(c.disc(*spot, s), rng.uniform(-1.5, 1.5), 1.5)
                    c.tint(c.disc(*spot, s, s * 0.7), 0.85)
                    continue
                words = on_part(c, c.text(any_word(rng, 2, 4, _MARKS), *spot, 7.5, 1.4))
                c.paint(words, ink, 0.9)
                c.lift(words, 0.8, 0.8)
        clip = against(rng, colour) if rng.random() < 0.4 else colour * 0.85 + 12
        for i in range(hooks):
            j = int((i + 0.5) * 160 / hooks) % 160
            p, (tx, ty) = outline[j], outline[(j + 2) % 160] - outline[j - 2]
            out = float(np.degrees(np.arctan2(ty, tx))) - 90
            if not (32 < p[0] < 288 and 32 < p[1] < 288):
                continue
            c.cut(c.box(*spoke(-4, out, *p), 10, 20, out))

            def hook(canvas: Canvas, x: float, y: float, angle: float, clip: Floats = clip) -> None:
                canvas.place(canvas.box(x, y, 16, 14, angle, 2), clip, lift=6, bevel=2, gloss=gloss)
                canvas.tint(canvas.box(*spoke(5, angle, x, y), 3.5, 14, angle), 0.65)

            at = spoke(1, out, *p)
            c.components.append(Component(hook, float(at[0]), float(at[1]), 10, out))
    while len(c.components) < 4:  # Too narrow for bosses: plugs along the outline.
        p = outline[len(c.components) * 40] * 0.75 + np.array([x, y]) * 0.25
        c.paint(c.disc(p[0], p[1], r * 0.75), darker(colour, 0.3))
        c.components.append(Component(insert(colour), float(p[0]), float(p[1]), r))
    return c
