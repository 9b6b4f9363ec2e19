"""Words that requests come too fast which are not Kling's: a task may stand behind each, and most often does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

import pytest
from products_kit import SIMPLE
from simulation import Scenario, Simulation, simulate
from test_run import done, notices, play
from test_run_products import SAY, run
from test_run_products import scenario as of_products

from batch_runner.errors import ExitCode
from batch_runner.kling.transport import Answer, Transport
from batch_runner.limits import loop_now_s
from batch_runner.sandbox.config import RepeatPolicy

LIPS = {"id": "lips", "kind": "lip-sync", "seconds": 5, **SIMPLE["lip-sync"]}
PLAIN = [b"", b'{"message": "too many requests"}', b'{"code": 429, "message": "Too Many Requests"}']


class Limiter:
    """Stands between the program and the service, and turns submissions away with the same answer.

    Attributes:
        turned_away_at: seconds after the first submission at which it did.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Answer, until: Callable[[int, float], bool]) -> None:
        self.turned_away_at = list[float]()
        exchange, posts, began = Transport.exchange, count(1), list[float]()

        async def limited(transport: Transport, method: str, path: str, *args: object) -> Answer:
            if method == "POST":
                began.append(loop_now_s())
                if not until(next(posts), began[-1] - began[0]):
                    self.turned_away_at.append(began[-1] - began[0])
                    return answer
            return await exchange(transport, method, path, *args)  # type: ignore[arg-type]  # handed on as they came

        monkeypatch.setattr(Transport, "exchange", limited)


def after(span_s: float) -> Callable[[int, float], bool]:
    return lambda _, age_s: age_s >= span_s


@pytest.mark.parametrize("body", PLAIN)
@pytest.mark.parametrize("span_s", [60, 300])
def test_a_limiter_on_the_way_delays_a_batch_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, span_s: float
) -> None:
    """After a minute of it every item in hand was left unknown, and the others were not tried."""
    limiter = Limiter(monkeypatch, Answer(429, {}, body), after(span_s))

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 4
        assert limiter.turned_away_at[-1] > span_s / 2
        assert notices(simulation).count("puts submissions off") == (span_s > 60)
        assert "no clear answer" not in notices(simulation)

    play(tmp_path, work, *"abcd", scenario=Scenario(slots=2))


def test_a_submission_that_is_turned_away_again_and_again_waits_longer_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = Limiter(monkeypatch, Answer(429, {}, b""), after(700))

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run(max_runtime_s=600)
        assert summary is not None
        assert summary.requests.poll < 5 * len(limiter.turned_away_at), "between two tries the lists are not read"
        pauses = [later - earlier for earlier, later in pairwise(limiter.turned_away_at)]
        assert pauses[0] < 20
        assert all(40 < pause < 120 for pause in pauses[5:])
        assert len(pauses) < 16
        assert (await done(simulation)).exit_code == ExitCode.OK

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_calls_that_nobody_could_look_for_are_not_given_up_for_a_limiter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was lost for good at its first try, and --repeat-lost would have booked what nobody charged."""
    limiter = Limiter(monkeypatch, Answer(429, {}, b""), after(60))

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert limiter.turned_away_at

    simulate(of_products(*({**SAY, "id": f"say-{number}"} for number in range(6)), slots=2), tmp_path, work)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "5"}])
def test_a_limit_in_a_gateways_words_is_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """A code that is not Kling's failed the item for good after three minutes."""
    Limiter(monkeypatch, Answer(429, headers, PLAIN[2]), lambda post, _: post > 1)

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def with_status(monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], body: bytes | None) -> None:
    """The first submission is taken in, and its answer gets another status on the way, and maybe another body."""
    exchange, posts = Transport.exchange, count(1)

    async def changed(self: Transport, method: str, *args: object) -> Answer:
        answer = await exchange(self, method, *args)  # type: ignore[arg-type]  # handed on as they came
        is_first = method == "POST" and next(posts) == 1
        return Answer(status, headers, answer.body if body is None else body) if is_first else answer

    monkeypatch.setattr(Transport, "exchange", changed)


@pytest.mark.parametrize(("status", "headers"), [(401, {}), (403, {}), (429, {}), (429, {"Retry-After": "1"})], ids=str)
@pytest.mark.parametrize("policy", ["refuse", "second"])
def test_a_status_that_was_changed_on_the_way_hides_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], policy: RepeatPolicy
) -> None:
    """The body said that all was well, which was taken for Kling's own refusal: it was sent again, and paid twice."""
    with_status(monkeypatch, status, headers, None)

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a", scenario=Scenario(slots=1), repeat_policy=policy)


@pytest.mark.parametrize("body", [None, b""])
def test_a_product_for_which_no_id_of_ours_is_documented_is_looked_for_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes | None
) -> None:
    with_status(monkeypatch, 429, {}, body)

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    simulate(of_products(LIPS, repeat_policy="second"), tmp_path, work)


def test_a_call_whose_status_was_changed_on_the_way_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_status(monkeypatch, 429, {}, None)

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.UNRESOLVED
        assert summary.requests.submit == 1
        assert "cannot be asked for again" in notices(simulation)

    simulate(of_products(SAY), tmp_path, work)


def test_submissions_that_were_put_off_are_none_of_the_tries_of_an_open_fate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times too fast, then one answer that nobody understood: it was never sent again."""
    exchange, posts = Transport.exchange, count(1)
    told = {**dict.fromkeys(range(1, 5), Answer(429, {}, b'{"code": 1302, "message": "too fast"}'))}
    told[5] = Answer(503, {}, b"")

    async def troubled(self: Transport, method: str, *args: object) -> Answer:
        answer = told.get(next(posts)) if method == "POST" else None
        return answer or await exchange(self, method, *args)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(Transport, "exchange", troubled)

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


@pytest.mark.parametrize("body", [b"<html>Too many</html>", b"", b'{"code":13'])
def test_a_429_that_is_no_word_of_klings_may_hide_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """It was sent again at once, and paid twice where a service makes a second task of a used id."""
    with_status(monkeypatch, 429, {}, body)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    play(tmp_path, work, "a", repeat_policy="second")
