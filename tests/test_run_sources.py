"""What an item is sent of the results of others: which file of several, and of which type."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from doors_kit import FAST, run_here, write_manifest

WALK = {"id": "walk", "prompt": "walks", "model_name": "kling-v1-6", "duration": 5}
PICTURE = "https://example.com/a.png"


def test_a_sound_field_takes_the_sound_of_a_task_that_made_a_video_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loud = {"id": "loud", "kind": "video-to-audio", "video_id": {"item": "walk"}, "sound_effect_prompt": "steps"}
    avatars = [
        {"id": f"avatar{number}", "kind": "avatar", "image": PICTURE, "sound_file": {"item": "loud", "asset": number}}
        for number in (1, 2)
    ]
    write_manifest(tmp_path / "m.jsonl", [WALK, loud, *avatars])
    ended = run_here("run", "m.jsonl", *FAST, "--json")
    assert (ended.code, ended.json["items"]["succeeded"]) == (0, 4), ended.err
    sent = _bodies_of(tmp_path, "avatar")
    files = {path.suffix: path for path in (tmp_path / "outputs" / "m-sandbox").glob("loud*")}
    assert {body["sound_file"] for body in sent} == {
        hashlib.sha256(base64.b64encode(files[suffix].read_bytes())).hexdigest() for suffix in (".mp3", ".wav")
    }


def _bodies_of(folder: Path, kind: str) -> list[dict[str, str]]:
    """What the simulated service was sent for a product, from its journal; files as digests."""
    records = map(json.loads, (folder / "outputs" / ".sandbox.jsonl").read_text().splitlines())
    return [record["body"] for record in records if record.get("kind") == kind]
