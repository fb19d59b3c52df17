"""Where in the image: maps drawn over photographs."""

from __future__ import annotations

from lriad.explain.overlay import overlay, save_overlay

__all__ = ["overlay", "save_overlay"]
