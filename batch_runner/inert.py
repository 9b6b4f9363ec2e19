"""Text from outside made inert: prompts, ids and servers' messages may hold anything."""

from __future__ import annotations

import unicodedata

_REPLACED = {"Cc", "Cf", "Cs"}
_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need, and that cannot reorder or hide anything."""
_STEERING = [*range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: f"\\u{code:04x}" for code in _STEERING}
"""Legal in JSON, but a terminal obeys the first ones and many readers of lines split at some of them."""


def _inert_character(char: str) -> str:
    if char.isspace():
        return " "
    if char in _JOINERS or unicodedata.category(char) not in _REPLACED:
        return char
    return "\ufffd"


def inert(text: str, limit: int | None = None) -> str:
    """Text on one line that cannot steer a terminal, reorder a page or break an encoding.

    Control, format and half characters become U+FFFD, every kind of space a plain one; what is longer than
    ``limit`` characters ends in an ellipsis.
    """
    if limit is not None and len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return text if text.isprintable() else "".join(map(_inert_character, text))


def inert_json(text: str) -> str:
    """The same JSON, in which no character can steer a terminal."""
    return text if text.isascii() and "\x7f" not in text else text.translate(_ESCAPES)
