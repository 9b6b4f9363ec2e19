"""A stream whose reader may leave."""

from __future__ import annotations

import os
from typing import TextIO


class CarefulStream:
    """A text stream whose reader may leave at any time: from then on, writing does nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> None:
        """Write and flush, or give up on the stream for good."""
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except UnicodeEncodeError:
            self.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        except (OSError, ValueError):  # a closed pipe or stream must not end a run that is paid for
            self._stream = None

    def line(self, text: str) -> None:
        """Write one line."""
        self.write(f"{text}\n")

    def flush(self) -> None:
        """Nothing is kept back."""

    def fileno(self) -> int:
        """The descriptor, by which tqdm learns the terminal's width."""
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()

    def has_width(self) -> bool:
        """Whether it is a terminal that knows its width; those of some containers say 0, which would hide a bar."""
        try:
            return os.get_terminal_size(self.fileno()).columns > 0
        except (OSError, ValueError):
            return False

    def is_terminal(self) -> bool:
        """Whether a person may be looking at it."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False
