"""What the tests of manifests share: files as people write them, and what the reader makes of them."""

from __future__ import annotations

import json
from pathlib import Path

from batch_runner.catalog import MediaLimits
from batch_runner.errors import Problem
from batch_runner.manifest import Manifest, MediaFacts
from batch_runner.model import Item


def write_lines(path: Path, *content: object) -> Path:
    """Write lines (text, bytes or objects) as a manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(map(as_bytes, content)) + b"\n")
    return path


def as_bytes(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def content_of(source: Path | bytes, _limits: MediaLimits) -> MediaFacts:
    """What stands in for the media room: any file that exists will do, and all bytes."""
    if isinstance(source, bytes):
        return MediaFacts("digest-of-bytes")
    return (
        MediaFacts(f"digest-of-{source.read_text()}")
        if source.is_file()
        else MediaFacts("", trouble="is no file that exists")
    )


def manifest(path: Path) -> Manifest:
    return Manifest(path, content_of)


def problems(path: Path) -> list[Problem]:
    found, omitted = manifest(path).problems()
    assert omitted == 0
    return found


def told(path: Path) -> list[str]:
    return [str(problem) for problem in problems(path)]


def only(path: Path) -> Problem:
    (problem,) = problems(path)
    return problem


def items(path: Path) -> list[Item]:
    return list(manifest(path).items())


def as_asked(item: Item) -> tuple[object, ...]:
    """All of an item but where it stands."""
    return (item.id, item.kind, item.priority, item.body, item.fingerprint, item.price, item.model, item.sources)


def expanded_again(path: Path, folder: Path) -> Path:
    """The expanded form of a manifest, written into another folder."""
    return write_lines(folder / "expanded.jsonl", *manifest(path).expanded())
