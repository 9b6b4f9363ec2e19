"""The manifest: lines of JSON become frozen items, or problems that are told together before anything is sent.

Reads the manifest file and, through a function it is handed, the images that lines name. It streams: what stays
in memory is one line, and two numbers for every id.
"""

from batch_runner.manifest.media_fields import Inspect, MediaFacts, load_body
from batch_runner.manifest.reader import MAX_PROBLEMS, Manifest

__all__ = ["MAX_PROBLEMS", "Inspect", "Manifest", "MediaFacts", "load_body"]
