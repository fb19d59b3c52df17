"""The station: an API and a page over an inspector and a store, and watched folders."""

from __future__ import annotations
