"""How one try at a download can end badly; the caller decides whether there is another try. Free of URLs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from batch_runner.errors import DiskError


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with the content that arrived.

    Attributes:
        why: as a phrase.
        may_be_so: nothing tells that it was cut or came from somebody else than the file server: it may be what
            the service made.
    """

    why: str
    may_be_so: bool = False


class DownloadFailure(Exception):  # noqa: N818 - an outcome the caller expects and handles, not a fault
    """Base of the outcomes of one try. The text names at most a host, never a path or a query string."""


class BadLink(DownloadFailure):
    """The link, or a place it redirects to, may not be fetched at all; nothing was sent there."""


class LinkExpired(DownloadFailure):
    """The server no longer honours this link (401, 403, 404, 410); a fresh one may work."""

    def __init__(self, host: str, http_status: int) -> None:
        self.http_status = http_status
        super().__init__(f"{host} answered {http_status}: the link has expired or the file is gone")


class BadDownload(DownloadFailure):
    """This try brought no whole file; another may.

    Attributes:
        retry_after_s: seconds the server asked for, jittered, or None when it did not say.
        is_spoiled: what lay in the part file was of no use and has been deleted; otherwise the next try
            goes on from it where the server allows that.
        odd_sha256: of all the bytes, where they came whole and only their kind is not the expected one; else "".
    """

    def __init__(
        self, why: str, *, retry_after_s: float | None = None, is_spoiled: bool = False, odd_sha256: str = ""
    ) -> None:
        self.retry_after_s = retry_after_s
        self.is_spoiled = is_spoiled
        self.odd_sha256 = odd_sha256
        super().__init__(why)


class TargetExists(Exception):  # noqa: N818 - an outcome the caller expects and handles, not a fault
    """Something else already stands under the final name; it was left alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path} already exists and was not overwritten")


class UnusableNameError(DiskError):
    """What stands under one name, or stands there no more, is in the way; the disk and other names are fine."""


class MissingFileError(UnusableNameError):
    """There is no file of this name; told apart because a person may simply have deleted it."""
