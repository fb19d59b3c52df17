"""Policies: loading any Hugging Face vision-language model or the embedded one, and reading its answers."""

from lriad.policy.answer import Completion
from lriad.policy.export import export_policy
from lriad.policy.loading import load_policy
from lriad.policy.policy import Policy

__all__ = ["Completion", "Policy", "export_policy", "load_policy"]
