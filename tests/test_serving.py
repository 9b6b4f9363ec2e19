"""The simulated service as a program of its own: what it says, and that a stranger can follow it."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doors_kit import clean_environ, process_args, run_here


@contextmanager
def started(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """The service in a process of its own, and the variables that it says to export."""
    serve = process_args("sandbox", "--port", "0", "--speed", "500", *args)
    command = ["env", "--default-signal=INT", *serve]  # a shell's "&" above us may have switched it off
    with subprocess.Popen(command, cwd=folder, env=clean_environ(folder, env), text=True, stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        assert "simulated Kling API" in it.stdout.readline()
        lines = [it.stdout.readline().split("#")[0].split() for _ in range(3)]
        assert [words[0] for words in lines] == ["export"] * 3
        yield dict(word.split("=", 1) for words in lines for word in words[1:])
        it.send_signal(signal.SIGINT)
        assert it.wait(30) == 0


def answer(variables: Mapping[str, str], path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        variables["KLING_BASE_URL"] + path,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {variables['KLING_API_KEY']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_what_it_says_to_export_opens_both_generations(tmp_path: Path) -> None:
    with started(tmp_path, "--credits", "50", "--slots", "3") as variables:
        assert set(variables) == {"KLING_BASE_URL", "KLING_ACCESS_KEY", "KLING_SECRET_KEY", "KLING_API_KEY"}
        made = answer(variables, "/text-to-video/kling-3.0-turbo", {"prompt": "a fox"})
        [task] = answer(variables, f"/tasks?task_ids={made['data']['id']}")["data"]
        assert task["status"] in {"submitted", "processing", "succeeded"}
        assert answer(variables, "/v1/images/generations")["data"] == []
        costs = answer(variables, "/account/costs?start_time=1&end_time=2")["data"]
        names = [pack["resource_pack_name"] for pack in costs["resource_pack_subscribe_infos"]]
        assert names == [f"Sandbox-{word}-50Units-3Con-1Months" for word in ("Video", "Image", "TryOn")]


def test_a_webhook_secret_that_is_none_stops_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("KLING_WEBHOOK_SECRET", "whsec_!")
    ended = run_here("sandbox", "--port", "0")
    assert (ended.code, ended.out) == (2, "")
    assert "KLING_WEBHOOK_SECRET: a webhook secret is whsec_ and base64" in ended.err
    assert "whsec_!" not in ended.err
