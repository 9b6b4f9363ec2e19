"""What an item may be called, and what it is called when nobody said. Pure."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Final

from batch_runner.catalog.problems import shown

MAX_ID_CHARS: Final = 100
MAX_ID_BYTES: Final = 200
MAX_SLUG_CHARS: Final = 40
HASH_CHARS: Final = 12
"""Of the content's hash in a default id: with 8, a hundred thousand equal slugs would already collide."""

_ID_REFUSED = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_WINDOWS_NAMES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_NO_WORD = re.compile(r"[\W_]+")


def default_id(words: str, fingerprint: str) -> str:
    """A readable name for content without an id, the same in every run."""
    return f"{_slug(words)}-{fingerprint[:HASH_CHARS]}"


def composed(id_: str) -> str:
    """The id in the form (NFC) that two ways of typing the same letters share."""
    return id_ if id_.isascii() else unicodedata.normalize("NFC", id_)


def encoding_trouble(id_: str) -> str:
    """Why files of this name cannot be made under the locale that the program was started with, or an empty text."""
    encoding = sys.getfilesystemencoding()
    try:
        id_.encode(encoding)
    except UnicodeEncodeError:
        return f"cannot be a file's name in this locale's encoding, {encoding}"
    return ""


def _slug(words: str) -> str:
    """At most 40 characters of words, cut between words where that leaves enough."""
    slug = _NO_WORD.sub("-", unicodedata.normalize("NFC", words[: 4 * MAX_SLUG_CHARS].lower())).strip("-")
    if len(slug) > MAX_SLUG_CHARS:
        head, dash, _ = slug[: MAX_SLUG_CHARS + 1].rpartition("-")
        slug = head if dash and len(head) >= MAX_SLUG_CHARS // 2 else slug[:MAX_SLUG_CHARS]
    return slug or "item"


def id_trouble(id_: str) -> str:
    """Why this id cannot be a file's name everywhere, or an empty text."""
    if not id_:
        return "is empty"
    if len(id_) > MAX_ID_CHARS:
        return f"has {len(id_)} characters; at most {MAX_ID_CHARS}"
    if refused := _ID_REFUSED.search(id_):
        return f"holds {shown(refused.group())}"
    if len(id_.encode()) > MAX_ID_BYTES:
        return f"has {len(id_.encode())} bytes as UTF-8; at most {MAX_ID_BYTES}"
    if id_[0] in ".-" or id_[-1] == "." or id_ != id_.strip():
        return "begins with a dot, dash or space, or ends with a dot or space"
    return "is a name that Windows keeps for itself" if _WINDOWS_NAMES.fullmatch(id_) else ""
