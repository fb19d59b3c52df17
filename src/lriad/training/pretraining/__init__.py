"""Making the embedded policy from nothing: its eyes, its words, then GRPO."""

from __future__ import annotations

from lriad.training.pretraining.pretrain import PretrainConfig, pretrain

__all__ = ["PretrainConfig", "pretrain"]
