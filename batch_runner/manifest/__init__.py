"""The manifest: its lines become frozen items, or problems that are told together before anything is sent.

Reads the manifest's text, the files that prompts stand in and, through a function it is handed, the media files that
lines name. It streams: what stays in memory is one line, and two numbers for every id.
"""

from batch_runner.manifest.media_fields import Inspect, MediaFacts, load_body
from batch_runner.manifest.reader import MAX_PROBLEMS, Manifest
from batch_runner.manifest.source import Format, Source, format_of

__all__ = [
    "MAX_PROBLEMS",
    "Format",
    "Inspect",
    "Manifest",
    "MediaFacts",
    "Source",
    "format_of",
    "load_body",
]
