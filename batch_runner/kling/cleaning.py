"""Makes a server's text safe to store and to show: one short line, no controls, no secrets. Pure."""

from __future__ import annotations

import re
import unicodedata

MESSAGE_LIMIT = 300
LONGEST_READ = 4000
"""No more of a text is looked at: a whole page in its place must not cost seconds."""
REMOVED = "[removed]"

_SECRETS = (
    (re.compile(r"(https?://)[^\s/?#@]*@", re.IGNORECASE), rf"\1{REMOVED}@"),
    (re.compile(r"(https?://[^\s?#]*)[?#]\S*", re.IGNORECASE), rf"\1?{REMOVED}"),
    (re.compile(r"\?[^\s?=]+=\S+"), f"?{REMOVED}"),
    (re.compile(r"\b(bearer)\s+[^\s,;\"']{6,}", re.IGNORECASE), rf"\1 {REMOVED}"),
    (re.compile(r"\beyJ[\w=-]{4,}(?:\.[\w=-]*)*"), REMOVED),
    (
        re.compile(
            r"\b((?:access|secret|api)[ _-]?key|token|signature|authorization)(\s*[=:]\s*)"
            r"(?!bearer\b)[^\s,;]{6,}",
            re.IGNORECASE,
        ),
        rf"\1\2{REMOVED}",
    ),
)


def clean_text(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """One line of at most ``limit`` characters, without what looks like a token or a signed URL."""
    text = " ".join("".join(map(_shown, text[:LONGEST_READ])).split())
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _shown(character: str) -> str:
    # C: controls, direction overrides and lone surrogates, which no UTF-8 file could hold; Z: separators.
    return " " if unicodedata.category(character)[0] in "CZ" else character
