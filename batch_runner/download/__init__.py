"""Result files: which links may be followed, one try at a download, and files under their final names."""

from batch_runner.download.atomic import write_atomically
from batch_runner.download.disk import is_ours_alone, reading, status_of, sync_folder
from batch_runner.download.failures import (
    BadDownload,
    BadLink,
    DownloadFailure,
    LinkExpired,
    MissingFileError,
    TargetExists,
    UnusableNameError,
)
from batch_runner.download.files import (
    check_batch_folder,
    free_bytes,
    is_as_recorded,
    keep_beside,
    make_batch_folder,
    publish,
    set_aside,
    sha256_of,
    tidy,
)
from batch_runner.download.lines import append_line
from batch_runner.download.links import LinkPolicy, PublicResolver, open_download_session
from batch_runner.download.mp4 import check_mp4
from batch_runner.download.part import move_part, sidecar_of, write_part
from batch_runner.download.stream import Downloaded, Downloader

__all__ = [
    "BadDownload",
    "BadLink",
    "DownloadFailure",
    "Downloaded",
    "Downloader",
    "LinkExpired",
    "LinkPolicy",
    "MissingFileError",
    "PublicResolver",
    "TargetExists",
    "UnusableNameError",
    "append_line",
    "check_batch_folder",
    "check_mp4",
    "free_bytes",
    "is_as_recorded",
    "is_ours_alone",
    "keep_beside",
    "make_batch_folder",
    "move_part",
    "open_download_session",
    "publish",
    "reading",
    "set_aside",
    "sha256_of",
    "sidecar_of",
    "status_of",
    "sync_folder",
    "tidy",
    "write_atomically",
    "write_part",
]
