"""The simulated service's memory: what a restart finds again."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from sandbox_kit import START_S, price, serving, text_body

from batch_runner.errors import DiskError
from batch_runner.sandbox import SandboxTask, World, WorldConfig
from batch_runner.sandbox.journal import Journal
from batch_runner.virtual_time import run_virtual


def tasks(*prompts: str) -> list[SandboxTask]:
    world = World(WorldConfig(max_concurrent=99), price)
    for number, prompt in enumerate(prompts):
        world.create("text2video", text_body(f"id-{number}", prompt, mode="pro"), START_S + number)
    return world.tasks


def written(path: Path, *prompts: str) -> list[SandboxTask]:
    journal = Journal(path)
    assert journal.open() == []
    kept = tasks(*prompts)
    for task in kept:
        journal.append(task)
    journal.close()
    return kept


def test_tasks_come_back_as_they_were(tmp_path: Path) -> None:
    kept = written(tmp_path / "deep" / "journal.jsonl", "fox", "\u2028 line\r\n\ud83d", "[sandbox:stuck]")
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    assert journal.open() == kept
    journal.close()


def test_a_line_is_with_the_system_before_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.open()
    journal.append(tasks("fox")[0])
    # Not closed, not flushed: what a kill -9 would leave behind.
    assert path.read_bytes().endswith(b"}\n")
    journal.close()


def test_a_cut_last_line_is_dropped_for_good(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    kept = written(path, "fox", "owl")
    path.write_bytes(path.read_bytes()[:-9])
    for _ in range(2):
        journal = Journal(path)
        assert journal.open() == kept[:1]
        journal.close()
    journal = Journal(path)
    journal.open()
    journal.append(kept[1])
    journal.close()
    journal = Journal(path)
    assert journal.open() == kept
    journal.close()


@pytest.mark.parametrize("line", [b"rubbish\n", b"{}\n", b"[]\n", b"\xff\n"])
def test_a_foreign_file_is_no_journal(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line)
    with pytest.raises(DiskError, match="line 1"):
        Journal(path).open()
    assert path.read_bytes() == line


def test_an_unusable_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="Is a directory"):
        Journal(tmp_path).open()
    closed = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(DiskError, match="closed"):
        closed.append(tasks("fox")[0])


def test_a_restarted_sandbox_knows_its_tasks_and_goes_on_by_wall_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    async def main() -> None:
        config = WorldConfig(max_concurrent=1, pack_credits=Decimal(5))
        async with serving(config, journal_path=path) as client:
            first = (await client.create("a", mode="pro")).data
            assert (await client.create("b")).code == 1303
        async with serving(config, journal_path=path) as client:
            # The slot, the reserve, the id and the fate are all still there.
            assert (await client.create("b")).code == 1303
            assert (await client.create("a")).code == 1201
            assert (await client.query("a")).data["task_id"] == first["task_id"]
            await asyncio.sleep(3600)
        async with serving(config, journal_path=path) as client:
            done = (await client.query("a")).data
            assert done["final_unit_deduction"] == "3.5"
            assert (await client.create("c", mode="pro")).code == 1102
            assert client.sandbox.world.charged_total() == Decimal("3.5")
            assert (await client.fetch(done["task_result"]["videos"][0]["url"])).status == 200

    run_virtual(main)


def test_a_refused_or_repeated_create_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    async def main() -> None:
        async with serving(WorldConfig(repeat_policy="same"), journal_path=path) as client:
            one, two = await asyncio.gather(client.create("a"), client.create("a"))
            assert one.data["task_id"] == two.data["task_id"]
            await client.create("b", duration="99")

    run_virtual(main)
    assert len(path.read_bytes().splitlines()) == 1


def test_creates_at_the_same_instant_do_not_share_a_slot(tmp_path: Path) -> None:
    async def main() -> None:
        config = WorldConfig(max_concurrent=3)
        async with serving(config, journal_path=tmp_path / "journal.jsonl") as client:
            replies = await asyncio.gather(*(client.create(str(number)) for number in range(10)))
            assert sorted(reply.code for reply in replies) == [0] * 3 + [1303] * 7
            assert client.sandbox.world.peak_in_flight == 3

    run_virtual(main)
