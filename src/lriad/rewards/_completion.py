"""The text of a completion in any of the forms that TRL hands to a reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Completion = str | Sequence[dict[str, Any]]
"""A plain string, or a conversation of messages with `role` and `content`."""


def completion_text(completion: Completion) -> str:
    """What the policy wrote: the string itself, or the text of the conversation's last message.

    Processors of vision-language models also give a message's content as a list of parts; its text parts are
    joined.
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] if completion else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
