"""The simulated service's own list against the facts that were typed in by hand, and so against the catalogue.

Every row that the facts call legal is sent as the client would send it: it is accepted, measured and charged at the
price of its row, and holds its slots.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from clip_facts import PICTURE
from products_kit import LINK, PRESET_ELEMENT, PRESET_VOICE
from sandbox_kit import START_S
from test_walk import LEGAL
from walk import SOUND, VIDEO, Legal

from batch_runner import catalog
from batch_runner.kling import wire_v2
from batch_runner.sandbox import SandboxTask, World, WorldConfig
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.products import PRODUCTS, standard
from batch_runner.service import sandbox_price

OF_ANOTHER_ACCOUNT = "extension of a clip that is not known"
"""A row whose id no service could know but the one that made it."""
UNTOLD_S = Decimal(5)


def account() -> World:
    return World(WorldConfig(max_concurrent=99), sandbox_price)


def provided(world: World, kind: str, body: Mapping[str, Any], length_s: Decimal) -> SandboxTask:
    """A finished task that made something for the row, as long as the row says."""
    made = world.create(kind, body, START_S - 9000)
    assert isinstance(made, SandboxTask), made
    task = replace(made, task_id=made.task_id[::-1], length_s=float(length_s), ended_at_s=START_S - 60)
    world.add(task)
    return task


def clip(world: World, step: Legal, length_s: Decimal) -> SandboxTask:
    wish = {"prompt": "a", "model_name": "kling-v2-6", "mode": "pro", "sound": "on"} | dict(step.inherited)
    if step.inherited.get("model_name") == "kling-v1-5":
        return provided(world, "image2video", {**_silent(wish), "image": LINK}, length_s)
    return provided(world, "text2video", _silent(wish) if step.inherited else wish, length_s)


def _silent(wish: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in wish.items() if name != "sound"}


class Providers:
    """What other items of a manifest would have made, each once."""

    def __init__(self, world: World, step: Legal) -> None:
        self._world, self._step = world, step
        self._tasks: dict[str, SandboxTask] = {}

    def get(self, name: str, field: str) -> Any:
        if name == "element":
            return PRESET_ELEMENT
        if name == "voice":
            return PRESET_VOICE
        task = self._tasks.setdefault(name, self._made(name) if name not in self._tasks else self._tasks[name])
        return {"audio_id": task.made_id("audio"), "video_id": task.video_id, "session_id": task.made_id("session"),
                "face_id": task.made_id("face")}[field]  # fmt: skip

    def _made(self, name: str) -> SandboxTask:
        length_s = self._step.source_s or UNTOLD_S
        if name == "spoken":
            return provided(self._world, "tts", {"text": "hello", "voice_id": "uk_boy1"}, length_s)
        if name in {"faces", "selection"}:
            opener = {"faces": "identify-face", "selection": "init-selection"}[name]
            wanted_s = Decimal(self._step.fields.get("duration", length_s))
            return provided(self._world, opener, {"video_url": VIDEO}, wanted_s)
        return clip(self._world, self._step, length_s)


def filled(value: Any, providers: Providers, field: str, source_s: Decimal | None) -> Any:
    """The body with files, links and ids where the row has names."""
    if isinstance(value, dict):
        if set(value) <= {"item", "asset"} and value:
            return providers.get(value["item"], field)
        return {name: filled(inner, providers, name, source_s) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, providers, field, source_s) for inner in value]
    if value in (VIDEO, SOUND):
        return f"{value}?sandbox-seconds={source_s or UNTOLD_S}"
    return LINK if value == PICTURE else value


def sent(step: Legal, world: World) -> SandboxTask | Denied:
    """What the service says to the row, in the form of its route."""
    checked = catalog.check(step.kind, step.fields).body
    body = filled(checked, Providers(world, step), "", step.source_s)
    route = catalog.route(step.kind, catalog.model_of(step.kind, checked))
    if step.kind == "delete-selection":
        added = world.create("add-selection", body, START_S)
        assert isinstance(added, SandboxTask), added
    if not route.needs_api_key:
        return world.prepare(step.kind, body, START_S)
    family, model = route.create_path[1:].split("/")
    product = standard.find(family, model)
    assert not isinstance(product, Denied), route.create_path
    return world.prepare_for(product, json.loads(wire_v2.create_request(route, body, {})), START_S)


def trouble(step: Legal) -> str:
    world = account()
    task = sent(step, world)
    if isinstance(task, Denied):
        return f"{task.code} {task.message}"
    if step.fields.get("series_amount") == "auto":
        # The estimate is for the most there can be; the service takes and holds what it made.
        assert step.credits is not None
        fair = step.credits * task.count / step.slots
        return "" if task.slots == task.count <= step.slots and task.credits == fair else f"costs {task.credits}"
    if task.pack != step.pack or (step.credits is not None and task.credits != step.credits):
        return f"costs {task.credits} {task.pack}, not {step.credits} {step.pack}"
    slots = 0 if PRODUCTS[step.kind].is_sync else step.slots
    return "" if task.slots == slots else f"holds {task.slots} slots, not {slots}"


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_legal_row_is_accepted_at_its_price(kind: str) -> None:
    rows = [step for step in LEGAL if step.kind == kind and step.name != OF_ANOTHER_ACCOUNT]
    failures = [f"{step.name}: {found}" for step in rows if (found := trouble(step))]
    assert not failures, "\n".join([f"{len(failures)} of {len(rows)} rows:", *failures[:25]])
