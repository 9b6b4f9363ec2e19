"""Deliberately broken builds: each of them must be caught by the tests named beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutation:
    """One fault put into a copy of the program, and the tests that have to see it."""

    name: str
    file: str
    good: str
    bad: str
    caught_by: str


MUTATIONS = (
    Mutation(
        "the intent is recorded after the request",
        "kling/exchange.py",
        """            if intend is not None:
                await intend()
            self._sent[request.kind] += 1
            try:
                answer = await self._transport.exchange(request.method, request.path, request.body, request.timeout_s)
""",
        """            self._sent[request.kind] += 1
            try:
                answer = await self._transport.exchange(request.method, request.path, request.body, request.timeout_s)
                if intend is not None:
                    await intend()
""",
        "test_write_order.py::test_a_digest_is_recorded_before_its_file_has_its_name_and_an_intent_before_its_task_is_made",
    ),
    Mutation(
        "a create without an answer is simply sent again",
        "runner/outcomes.py",
        "            await self.passage.lost(why, refusal if verdict is Verdict.ODD else None)\n",
        "            await self.passage.put_back()\n",
        "test_run.py::test_a_create_without_a_clear_answer_never_pays_twice[second-lost_answer]",
    ),
    Mutation(
        "a limit that is not Kling's is believed",
        "kling/creation.py",
        "or _is_from_elsewhere(route, refusal):",
        "and not _is_from_elsewhere(route, refusal):",
        "test_limits_from_elsewhere.py::test_a_status_that_was_changed_on_the_way_hides_no_task[second-429-{}]",
    ),
    Mutation(
        "a limit that is not Kling's counts as a try",
        "runner/submission.py",
        "return self._sends - self._put_offs >=",
        "return self._sends >=",
        "test_limits_from_elsewhere.py::test_a_limiter_on_the_way_delays_a_batch_and_no_more",
    ),
    Mutation(
        "a hold is released while the fate is open",
        "lifecycle.py",
        "(_S.SENDING, _E.LOSE_ANSWER): Step(_S.UNKNOWN)",
        "(_S.SENDING, _E.LOSE_ANSWER): Step(_S.UNKNOWN, Money.RELEASE)",
        "test_lifecycle.py::test_a_hold_is_opened_and_settled_once_on_every_path",
    ),
    Mutation(
        "not found is believed at once",
        "schedule.py",
        "    return max(0.0, last_sent_at_s + settle_s - now_s)",
        "    return 0.0 * (last_sent_at_s + settle_s - now_s)",
        "test_run.py::test_a_create_without_a_clear_answer_never_pays_twice[second-lost_answer]",
    ),
    Mutation(
        "a look before the settle time is over counts",
        "runner/watch.py",
        "        if not self.settle_left_s(looked_at_s):\n            self.late_lists",
        "        if looked_at_s:\n            self.late_lists",
        "test_recovery.py::test_a_look_in_the_list_before_the_settle_time_is_over_does_not_count",
    ),
    Mutation(
        "a look by id alone is enough to believe that there is no task",
        "runner/search.py",
        "and bool(is_listed) and watch.late_answers >= needed",
        "and bool(needed) and watch.late_answers >= 1",
        "test_recovery.py::test_what_no_look_by_id_shows_is_not_believed_absent_while_there_is_no_list",
    ),
    Mutation(
        "absence is believed after the service may have purged the task",
        "runner/passage.py",
        "        if self.may_be_purged:\n",
        "        if self.may_be_purged and self.odd:\n",
        "test_recovery.py::test_what_was_sent_so_long_ago_that_its_task_may_be_purged_is_not_sent_again_unasked[untouched]",
    ),
    Mutation(
        "the refusal of a second sending speaks for the first one",
        "runner/outcomes.py",
        "            case _ if self.passage.was_unknown:\n",
        "            case _ if self.passage.was_unknown and refusal.code is None:\n",
        "test_recovery.py::test_a_refusal_of_a_second_sending_is_no_word_about_the_first_one",
    ),
    Mutation(
        "a second sending that was put off is withdrawn when its run ends",
        "runner/submission.py",
        "        elif self.passage.was_unknown:\n            await self.passage.leave_open()\n",
        "",
        "test_recovery.py::"
        "test_a_second_sending_that_an_ended_run_was_put_off_with_is_not_forgotten_with_its_line[removed-stopped]",
    ),
    Mutation(
        "a not found is believed whatever it names",
        "kling/refusals.py",
        'if named in {"", asked_id}:',
        'if named not in {"", asked_id}:',
        "test_recovery.py::test_another_questions_not_found_is_not_believed_of_a_submission",
    ),
    Mutation(
        "a file gets its name before its bytes are on the disk",
        "download/stream.py",
        "        _sync(file.fileno(), part_path)\n",
        "",
        "test_write_order.py",
    ),
    Mutation(
        "a file gets its name before its digest is durable",
        "runner/gathering.py",
        "        await self._context.store.record_file(stock.attempt, file)\n        await self._put",
        "        await self._filing.put(part_path, final_path)\n"
        "        await self._context.store.record_file(stock.attempt, file)\n        await self._put",
        "test_write_order.py::test_a_digest_is_recorded_before_its_file_has_its_name_and_an_intent_before_its_task_is_made",
    ),
    Mutation(
        "the folder of a new name is not synced",
        "download/files.py",
        "    remove(sidecar_of(part_path))\n    sync_folder(final_path.parent)\n",
        "    remove(sidecar_of(part_path))\n",
        "test_power_loss.py::test_the_power_is_cut_before_a_sync[1-worst]",
    ),
    Mutation(
        "the folder of a batch is not synced where it stands already",
        "download/files.py",
        "    sync_folder(output_dir)  # also",
        "    output_dir.exists()  # also",
        "test_simulation.py::test_what_a_killed_run_began_is_durable_when_the_next_one_has_ended",
    ),
    Mutation(
        "transactions are not synced",
        "store/connection.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        "test_power_loss.py::test_the_power_is_cut_before_a_sync[1-worst]",
    ),
    Mutation(
        "an answer about another item's task is adopted",
        "runner/watch.py",
        "    return task.external_task_id != external_task_id and ExternalId",
        "    return not external_task_id and ExternalId",
        "test_recovery.py::test_a_stale_answer_about_a_finished_task_is_noticed[False]",
    ),
    Mutation(
        "lists are believed after a lost store",
        "runner/submission.py",
        "self.passage.watch.has_task or is_first_after_loss\n",
        "self.passage.watch.has_task\n",
        "test_run.py::test_a_lost_store_does_not_believe_lists_of_the_account[False]",
    ),
    Mutation(
        "what has a film here is submitted after a lost store",
        "runner/adoption.py",
        ", held | left",
        ", held",
        "test_others_answers.py::test_what_is_here_is_not_paid_for_again_once_store_and_account_have_forgotten_it"
        "[1-second]",
    ),
    Mutation(
        "a restart forgets the requests of the minute before",
        "service.py",
        "    monitor.restore(on_this_loop(await store.stamps(scope), clock))\n",
        "",
        "test_simulation.py::test_restarts_do_not_reset_the_request_limit",
    ),
    Mutation(
        "a restart forgets the slots of the tasks in flight",
        "runner/crew.py",
        "                self._context.limiter.adopt(attempt.slots)\n",
        "                self._context.limiter.active_count  # noqa: B018\n",
        "test_run.py::test_max_runtime_leaves_the_rest_to_the_next_run",
    ),
    Mutation(
        "the account is not searched before the first submission",
        "runner/run.py",
        "            self._lineless = await halt.unless(adopt_from_account(self._context))\n",
        "            await self._context.store.adopt(self._context.batch, [], {})\n",
        "test_run.py::test_a_lost_store_and_an_edited_line_are_told_and_not_mixed_up",
    ),
    Mutation(
        "a failed task found on the account is not settled at once",
        "store/adoption.py",
        "        if task.task.status is TaskStatus.FAILED:\n",
        "        if not task.task.task_id:\n",
        "test_store.py::test_news_of_an_older_attempt_does_not_speak_for_the_item",
    ),
    Mutation(
        "open holds do not count in a rolling budget",
        "store/windows.py",
        "    return Window(budget, held, charged)\n",
        "    return Window(budget, 0 * held, charged)\n",
        "test_store_windows.py::test_the_last_credits_are_held_once",
    ),
    Mutation(
        "a wall clock set forward makes room in a rolling budget",
        "store/windows.py",
        '        "epoch": now.epoch,\n',
        '        "epoch": "",\n',
        "test_store_windows.py::test_a_wall_clock_that_is_set_forward_makes_no_room",
    ),
    Mutation(
        "a charge forgets the second leg of its difference",
        "ledger.py",
        "        moves.append(Move(Account.AVAILABLE, Account.CONSUMED, taken - held))\n",
        "        pass\n",
        "test_ledger.py",
    ),
    Mutation(
        "a submission does not ask for room on the disk",
        "runner/room.py",
        "        if free >= needed and not self._unwritten:\n",
        "        if free >= 0 or not self._unwritten:\n",
        "test_room.py::test_nothing_is_submitted_while_there_is_no_room",
    ),
    Mutation(
        "what is in flight does not count as room",
        "runner/room.py",
        "needed = RESERVE_BYTES + sum(self._expected.values()) + file",
        "needed = RESERVE_BYTES + file",
        "test_room.py::test_what_is_in_flight_counts_so_that_a_small_disk_takes_one_at_a_time",
    ),
    Mutation(
        "after a failed sync the others go on",
        "runner/filing.py",
        "            self._broken = error\n",
        "",
        "test_sync_failures.py::test_a_repair_stops_at_a_failed_sync_too",
    ),
    Mutation(
        "a store whose disk failed is written to again",
        "store/transactions.py",
        "            self._broken = error\n",
        "",
        "test_sync_failures.py::test_a_store_whose_disk_failed_once_is_not_written_to_again",
    ),
    Mutation(
        "the store's logs are not looked at for links",
        "store/connection.py",
        'for ending in ("-wal", "-shm", "-journal")',
        "for ending in ()",
        "test_containment.py::test_a_link_in_place_of_what_a_run_stands_on_ends_it_before_anything_is_sent"
        "[to a file-state.db-wal]",
    ),
    Mutation(
        "links to this machine are followed wherever the API is",
        "launch.py",
        "LinkPolicy(allow_local=service.is_local)",
        "LinkPolicy(allow_local=True)",
        "test_containment.py::test_links_to_this_machine_are_followed_only_where_the_api_is_a_test_server_on_it",
    ),
    Mutation(
        "a task is overdue although nobody looked",
        "runner/watch.py",
        "is_overdue = is_seen and loop_now_s()",
        "is_overdue = loop_now_s()",
        "test_clock.py::test_a_task_is_called_overdue_only_by_a_look_after_its_deadline",
    ),
)


_BEARER = """
import gc, json, os, signal, sys
import aiohttp.web, aiofiles, jwt, pytest, tqdm
assert "batch_runner" not in sys.modules
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(order["timeout_s"])
        told = os.open(order["told"], os.O_WRONLY | os.O_CREAT)
        for stream, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, told), (2, told)):
            os.dup2(descriptor, stream)
        os.chdir(order["folder"])
        os.environ["PYTHONPATH"] = sys.path[0] = order["folder"]
        os._exit(pytest.main(order["args"]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Has imported what no mutation touches; each broken build is tested in a fork of it, for the imports cost the most."""
_TIMEOUT_S = 240


@pytest.fixture(scope="module")
def bearer() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _BEARER]
    environment = {**os.environ, "DEATHS_EVERY": "2"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _tested(bearer: subprocess.Popen[str], folder: Path, node: str) -> tuple[int, str]:
    """The exit code of pytest over some tests of a copy of the project, and what it said."""
    told = folder / "told.txt"
    plugins = [word for name in ("cacheprovider", "xdist", "hypothesispytest") for word in ("-p", f"no:{name}")]
    args = ["-q", "-x", *plugins, f"tests/{node}"]
    order = {"folder": str(folder), "told": str(told), "timeout_s": _TIMEOUT_S, "args": args}
    assert bearer.stdin is not None
    assert bearer.stdout is not None
    bearer.stdin.write(json.dumps(order) + "\n")
    bearer.stdin.flush()
    return int(bearer.stdout.readline()), told.read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project, to be broken."""
    for name in ("batch_runner", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_a_build_that_is_not_broken_passes(bearer: subprocess.Popen[str], copy: Path) -> None:
    """Else every mutation would be caught, whatever it breaks."""
    code, told = _tested(bearer, copy, "test_lifecycle.py::test_a_hold_is_opened_and_settled_once_on_every_path")
    assert code == 0, told[-2000:]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_build_is_caught(bearer: subprocess.Popen[str], copy: Path, mutation: Mutation) -> None:
    broken = copy / "batch_runner" / mutation.file
    source = broken.read_text(encoding="utf-8")
    assert source.count(mutation.good) == 1, "the mutation no longer fits the source"
    broken.write_text(source.replace(mutation.good, mutation.bad), encoding="utf-8")
    misspelt = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "-q", "--isolated", "--select", "F821", str(broken)], check=False
    )
    assert misspelt.returncode == 0, "the mutation names what is not there: that would be caught, and not its fault"
    code, told = _tested(bearer, copy, mutation.caught_by)
    assert code == 1, f"{mutation.caught_by} did not notice:\n{told[-2000:]}"
