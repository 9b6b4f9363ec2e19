"""Whether the bytes that arrived are of the kind the file name promises. Pure over a file object."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from batch_runner.download.failures import Flaw
from batch_runner.download.mp4 import check_mp4
from batch_runner.media.sounds import is_whole_mp3

_HEAD_BYTES = 64
_TAIL_BYTES = 12
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_MP3_SYNC_BYTES = 2


def _is_mp3(head: bytes) -> bool:
    return head.startswith(b"ID3") or (
        len(head) >= _MP3_SYNC_BYTES and head[0] == 0xFF and head[1] & 0xE0 == 0xE0  # noqa: PLR2004 - frame sync
    )


_IS_IMAGE: tuple[Callable[[bytes], bool], ...] = (
    lambda head: head.startswith(_PNG),
    lambda head: head.startswith(b"\xff\xd8\xff"),
    lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
)
_IS_AUDIO: tuple[Callable[[bytes], bool], ...] = (
    _is_mp3,
    lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE",
)
# An asset was paid for: a JPEG that the server calls .png is kept with its bytes, not thrown away.
_BY_SUFFIX = {
    ".png": _IS_IMAGE,
    ".jpg": _IS_IMAGE,
    ".jpeg": _IS_IMAGE,
    ".webp": _IS_IMAGE,
    ".mp3": _IS_AUDIO,
    ".wav": _IS_AUDIO,
}


def check_content(file: BinaryIO, size: int, suffix: str, *, is_length_known: bool) -> Flaw | None:
    """What is wrong with the file of ``size`` bytes, or None.

    Args:
        file: open for reading, at any position.
        size: bytes in it.
        suffix: the ending of its final name, with the dot.
        is_length_known: the server told the length and it matched; if not, only the content can tell
            a cut file from a whole one. Whoever cut a file may have measured what was left of it, too.
    """
    if size == 0:
        return Flaw("the file is empty")
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"<", b"{", b"["}:
        return Flaw(f"the answer is text, not a {suffix} file")
    if suffix.lower() == ".mp4":
        flaw = check_mp4(file, size)
        return flaw if flaw is None else Flaw(flaw.why, may_be_so=flaw.may_be_so and is_length_known)
    tests = _BY_SUFFIX.get(suffix.lower())
    if tests is not None and not any(test(head) for test in tests):
        return Flaw(f"the content is not that of a {suffix} file", may_be_so=is_length_known)
    if _is_ended(file, size, head):
        return None
    # How an MP3 may end is no more than custom.
    return Flaw("its end is not that of a whole file", may_be_so=is_length_known or _is_mp3(head))


def _is_ended(file: BinaryIO, size: int, head: bytes) -> bool:
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    if head.startswith(_PNG):
        return tail == _PNG_END
    if head.startswith(b"\xff\xd8\xff"):
        return tail.endswith(b"\xff\xd9")
    if head.startswith(b"RIFF"):
        return size >= int.from_bytes(head[4:8], "little") + 8
    if _is_mp3(head):
        file.seek(0)  # nothing at its end, only its frames from the first one on
        return is_whole_mp3(file.read())
    return True
