"""The program as a process, killed with SIGKILL at chosen places and started again.

The longer sweep over every place is ``python benchmarks/crash_sweep.py``.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from crash_kit import SPEED, Scene, Verdict, play, play_all, strace_trouble
from crash_oracle import (
    BATCH,
    file_wrongs,
    fingerprint,
    ledger_wrongs,
    payment_wrongs,
    secret_wrongs,
    server_digest,
)
from crash_proxy import Cut, Place
from crash_steps import LOST_ALL, LOST_DB, LOST_DB_AND_WAL, Step, Syscall, random_moments

from batch_runner.sandbox import SandboxTask, WorldConfig, wire

SEED = 20_260_721


def judge(verdicts: list[Verdict]) -> None:
    wrong = [str(verdict) for verdict in verdicts if verdict.wrongs]
    assert not wrong, "\n" + "\n".join(wrong)


def require_reached(verdicts: list[Verdict]) -> None:
    """A sweep that kills nobody shows nothing; a place or two may lie behind the end of a quick run."""
    reached = sum(verdict.kills > 0 for verdict in verdicts)
    assert reached >= 0.8 * len(verdicts), [str(verdict) for verdict in verdicts if not verdict.kills]


SUBMITTING = [
    *[
        Cut("submit", 1, place)
        for place in Place
        if place in {Place.UNSEEN, Place.REQUEST_BODY, Place.SENT, Place.LATE, Place.ANSWERED, Place.WHOLE}
    ],
    Cut("submit", 2, Place.AFTER, 0.03),
]
POLLING = [
    Cut("page", 1, Place.WHOLE),
    Cut("page", 2, Place.HALF),
    Cut("page", 3, Place.AFTER, 0.01),
]
DOWNLOADING = [
    *[Cut("download", 1, place) for place in (Place.UNSEEN, Place.QUARTER, Place.WHOLE)],
    Cut("download", 3, Place.AFTER, 0.01),
]


def test_killed_at_places_of_the_protocol(tmp_path: Path) -> None:
    verdicts = asyncio.run(play_all(tmp_path, [[cut] for cut in SUBMITTING + POLLING + DOWNLOADING]))
    judge(verdicts)
    require_reached(verdicts)


PART = f"{BATCH}/item1.mp4.part"
SYSCALLS = [
    Syscall("pwrite64", 180),
    Syscall("fdatasync", 12),
    *[Syscall(name, 1, PART) for name in ("write", "fsync", "unlink")],
    Syscall("linkat", 1),
    Syscall("unlink", 1, f"{PART}.meta"),
    Syscall("fsync", 1, BATCH),
]


def test_killed_at_system_calls(tmp_path: Path) -> None:
    trouble = strace_trouble()
    if trouble is not None:
        pytest.skip(trouble)
    verdicts = asyncio.run(play_all(tmp_path, [[syscall] for syscall in SYSCALLS]))
    judge(verdicts)
    require_reached(verdicts)


def test_killed_in_the_recovery_three_times_over(tmp_path: Path) -> None:
    crashes: list[list[Step]] = [
        [
            Cut("submit", 2, Place.SENT),
            Cut("page", 1, Place.ANSWERED),
            Cut("page", 1, Place.HALF),
            Cut("download", 1, Place.HALF),
        ],
        [
            Cut("submit", 1, Place.REQUEST_BODY),
            Cut("find", 1, Place.ANSWERED),
            Cut("submit", 1, Place.SENT),
            Cut("download", 1, Place.WHOLE),
        ],
    ]
    verdicts = asyncio.run(play_all(tmp_path, crashes))
    judge(verdicts)
    assert all(verdict.kills == 4 for verdict in verdicts), verdicts


def test_ten_random_kills_pay_nothing_twice(tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201 - pytest shows it when the test fails
    draws = random.Random(SEED)
    [verdict] = asyncio.run(play_all(tmp_path, [random_moments(draws, 10)], items=24))
    judge([verdict])
    assert verdict.kills >= 8
    assert verdict.submitted >= 3, "they were killed at work"


def test_a_lost_state_db_pays_nothing_twice(tmp_path: Path) -> None:
    crashes: list[list[Step]] = [
        [Cut("submit", 2, Place.SENT), LOST_DB],
        [Cut("submit", 3, Place.LATE), LOST_DB_AND_WAL],
        [Cut("download", 2, Place.HALF), LOST_DB_AND_WAL],
        [Cut("download", 3, Place.HALF), LOST_ALL],
    ]
    verdicts = asyncio.run(play_all(tmp_path, crashes))
    judge(verdicts)
    require_reached(verdicts)


def test_a_lost_state_db_while_a_second_attempt_is_in_flight_pays_nothing_twice(tmp_path: Path) -> None:
    """By the seed item1's first task fails and its second attempt does not; with credits to spare and without."""
    config = WorldConfig(speed=SPEED / 10, max_concurrent=5, failure_rate=0.4, seed=1)
    steps: list[Step] = [Cut("submit", 4, Place.AFTER, 0.1), LOST_DB_AND_WAL]

    async def both() -> list[Verdict]:
        plays = (
            play(tmp_path / str(spare), steps, config=config, options=["--max-attempts", "3"], spare=spare)
            for spare in (0, 100)
        )
        return await asyncio.gather(*plays)

    verdicts = asyncio.run(both())
    judge(verdicts)
    assert all(verdict.kills == 1 and verdict.in_flight for verdict in verdicts), verdicts


def test_a_task_of_two_files_killed_between_them_ends_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = wire.queried

    def with_two_files(*args: Any) -> dict[str, Any]:
        data = told(*args)
        if "task_result" in data:
            data["task_result"]["videos"] *= 2
        return data

    def wrongs(scene: Scene) -> list[str]:
        right = server_digest(scene.sandbox.world.tasks[0])
        found = fingerprint(scene.output_dir)
        names = [f"{BATCH}/item0-{number}.mp4" for number in (1, 2)]
        return [f"LOST VIDEO: {name}" for name in names if not found.get(name, "").startswith(right)]

    monkeypatch.setattr(wire, "queried", with_two_files)
    steps = [Cut("download", 2, Place.HALF)]
    verdict = asyncio.run(play(tmp_path / "one", steps, items=1, to_the_end=wrongs))
    judge([verdict])
    assert verdict.kills == 1


# --- the judge itself -------------------------------------------------------------------------------------------


def a_task(number: int = 1, created_at_s: float = 0.0) -> SandboxTask:
    return SandboxTask(
        task_id=str(number),
        external_task_id=f"x-{number}",
        kind="text2video",
        body={},
        created_at_s=created_at_s,
        started_at_s=created_at_s + 1,
        ended_at_s=created_at_s + 2,
        failure="",
        credits=Decimal(1),
        aspect="1:1",
        length_s=1,
        look="x",
    )


def test_the_judge_sees_a_second_paid_task() -> None:
    assert not list(payment_wrongs({"a": [a_task()]}))
    [wrong] = payment_wrongs({"a": [a_task(), a_task(2, 50.0)]})
    assert "charged tasks" in wrong


def test_the_judge_sees_two_live_tasks() -> None:
    failing = replace(a_task(2, 1.0), failure="internal error")
    [wrong] = payment_wrongs({"a": [a_task(), failing]})
    assert "two live tasks" in wrong
    assert not list(payment_wrongs({"a": [a_task(), replace(failing, created_at_s=2.0)]}))


def test_the_judge_sees_a_partial_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"half")
    [wrong] = file_wrongs(tmp_path, {"a": [a_task()]})
    assert wrong.startswith("PARTIAL FILE: a.mp4")


def test_the_judge_sees_a_secret(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"\0https://cdn.example/a.mp4?Signature=x\0")
    assert not list(secret_wrongs(tmp_path / "elsewhere", "all is well", ["key"]))
    told = list(secret_wrongs(tmp_path, "refused: key", ["key"]))
    assert told == ["SECRET: 'Signature=' stands in state.db", "SECRET: 'key' stands in what the program said"]


def test_the_judge_sees_a_ledger_that_does_not_conserve(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    hold = '{"seq":1,"entry":"hold","credits":"2","item":"a","attempt":1,"consumed":"0","held":"2","budget":"3"}\n'
    charge = hold.replace("1", "2", 1).replace("hold", "charge").replace('"credits":"2"', '"credits":"1.5"')
    charge = charge.replace('"consumed":"0","held":"2","budget":"3"', '"consumed":"%s","held":"%s","budget":"%s"')
    path.write_text(hold + charge % ("1.5", "0", "3"))
    assert not list(ledger_wrongs(tmp_path))
    path.write_text(hold + charge % ("1.5", "0.5", "3"))
    assert len(list(ledger_wrongs(tmp_path))) == 1
    path.write_text(hold + charge % ("1.5", "0", "1"))
    assert len(list(ledger_wrongs(tmp_path))) == 1
    path.write_text(hold)
    assert len(list(ledger_wrongs(tmp_path))) == 1
