"""The simulated account: its tasks, slots, credits and rate limit. Pure: time comes in, answers go out."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from batch_runner.model import Pack
from batch_runner.sandbox.codes import (
    AGAINST_POLICY,
    NO_CREDITS,
    NO_SLOT,
    TOO_FAST,
    Denied,
    already_exists,
)
from batch_runner.sandbox.config import PackConfig, RepeatPolicy, WorldConfig
from batch_runner.sandbox.fate import AT_ONCE, decide, made_of, refused_by_policy
from batch_runner.sandbox.issued import Issued, KnownNow
from batch_runner.sandbox.kept import digest, kept
from batch_runner.sandbox.products import PRODUCTS, Order, Product, Request
from batch_runner.sandbox.purses import Deduction, PackState, Purses
from batch_runner.sandbox.shelf import Shelf
from batch_runner.sandbox.task import SandboxTask

__all__ = ["PackConfig", "PackState", "PriceOf", "RepeatPolicy", "World", "WorldConfig"]

PriceOf = Callable[[str, Mapping[str, Any], Mapping[str, Decimal], Mapping[str, str]], Decimal]
"""The credits of a task, from

- its kind,
- the fields of its body that say something; those of the second generation in the flat form of the first, with its
  path's model as ``model_name``,
- the measured seconds of its sources by field (``sound_file``, ``face_choose[].audio_id``),
- ``model_name`` and ``mode`` of the task it continues, if it continues one.
"""

WINDOW_S = 60.0
_SMALLEST_ID, _IDS = 10**17, 9 * 10**17


class World:
    """One account of the simulated service, and the books a test compares a client's with.

    Attributes:
        shelf: the tasks, to look for one.
        peak_in_flight: the most slots ever held at once, of all currencies together.
        peak_slots: the most slots ever held at once of each currency.
        refusals: how often each code was answered.
        request_stamps: when each API request arrived, whatever became of it.
    """

    def __init__(self, config: WorldConfig, price_of: PriceOf) -> None:
        self.config = config
        self.shelf = Shelf(config)
        self.peak_in_flight = 0
        self.peak_slots: Counter[Pack] = Counter()
        self.refusals: Counter[int] = Counter()
        self.request_stamps: list[float] = []
        self._price_of = price_of
        self._running: list[tuple[float, int, SandboxTask]] = []
        self._held_slots: Counter[Pack] = Counter()
        self._purses = Purses(config)
        self._issued = Issued(config.purge_after_s)
        self._window: deque[float] = deque()
        self._answers = 0

    @property
    def tasks(self) -> list[SandboxTask]:
        """Every task and every call that was answered at once, oldest first."""
        return self.shelf.tasks

    @property
    def tasks_by_external_id(self) -> Mapping[str, list[SandboxTask]]:
        """Those to which the caller gave an id, by it."""
        return self.shelf.by_external_id

    def stamp(self, now_s: float) -> None:
        """Note that a request arrived."""
        self.request_stamps.append(now_s)

    def throttle(self, now_s: float) -> Denied | None:
        """Count a request against the rate limit, or refuse it; refused ones do not count."""
        while self._window and self._window[0] <= now_s - WINDOW_S:
            self._window.popleft()
        if self.config.rpm is not None and len(self._window) >= self.config.rpm:
            return self.deny(TOO_FAST)
        self._window.append(now_s)
        return None

    def next_answer(self) -> int:
        """The number of the answer that is about to be given, from 1 on."""
        self._answers += 1
        return self._answers

    def deny(self, denied: Denied) -> Denied:
        """Count a refusal."""
        self.refusals[denied.code] += 1
        return denied

    def create(self, kind: str, body: Mapping[str, Any], now_s: float) -> SandboxTask | Denied:
        """Ask for a task, and have it."""
        outcome = self.prepare(kind, body, now_s)
        if isinstance(outcome, SandboxTask):
            self.add(outcome)
        return outcome

    def prepare(self, kind: str, body: Mapping[str, Any], now_s: float) -> SandboxTask | Denied:
        """The task a create would make (or, by policy, the one it repeats), or why there is none.

        Nothing is changed but the count of refusals: a journal can be written before ``add``.
        """
        return self.prepare_for(PRODUCTS[kind], body, now_s)

    def prepare_for(self, product: Product, body: Mapping[str, Any], now_s: float) -> SandboxTask | Denied:
        """The same for a product that is at hand."""
        self._settle(now_s)
        self._purses.open_at(now_s)
        outcome = self._read(product, body, now_s)
        return self.deny(outcome) if isinstance(outcome, Denied) else outcome

    def _read(self, product: Product, body: Mapping[str, Any], now_s: float) -> SandboxTask | Denied:
        flat = product.read(body)
        if isinstance(flat, Denied):
            return flat
        return self._prepared(Request(product, flat, KnownNow(self._issued, now_s)), now_s)

    def _prepared(self, request: Request, now_s: float) -> SandboxTask | Denied:
        order = _order(request)
        if isinstance(order, Denied):
            return order
        used = self.tasks_by_external_id.get(request.external_task_id or "", [])
        if used and self.config.repeat_policy != "second":
            again = self.config.repeat_policy == "same"
            return used[0] if again else already_exists(str(request.external_task_id))
        key = self._key(request, len(used))
        credits_due = Decimal(0)
        if not order.status:
            body = {**request.present, **order.decided}
            credits_due = self._price_of(request.product.kind, body, order.lengths, order.inherited)
        denied = self._room_for(request.product, order, credits_due, now_s)
        if denied is None and refused_by_policy(self.config, key, request.prompt):
            denied = AGAINST_POLICY
        return denied or self._task(request, order, key, credits_due, now_s)

    def _key(self, request: Request, earlier: int) -> str:
        if request.external_task_id is None:
            return f"#{len(self.tasks)}"
        return request.external_task_id + (f"#{earlier}" if earlier else "")

    def _room_for(self, product: Product, order: Order, credits_due: Decimal, now_s: float) -> Denied | None:
        if not self._purses.can_pay(product.pack, credits_due, now_s):
            return NO_CREDITS
        if product.is_sync:
            return None  # whether a call that is answered at once holds a slot is documented nowhere: it does not
        free = self._purses.slots(product.pack, now_s) - self._held_slots[product.pack]
        return NO_SLOT if order.slots > free else None

    def _task(self, request: Request, order: Order, key: str, credits_due: Decimal, now_s: float) -> SandboxTask:
        product = request.product
        fate = AT_ONCE
        if not product.is_sync:
            fate = decide(self.config, key, request.prompt, order.median_s, order.trouble)
        started_at_s = now_s + fate.queued_s
        return SandboxTask(
            task_id=self._new_id(key, now_s),
            external_task_id=request.external_task_id,
            kind=product.kind,
            body=kept(request.body),
            created_at_s=now_s,
            started_at_s=started_at_s,
            ended_at_s=started_at_s + fate.working_s,
            failure=fate.failure,
            credits=credits_due,
            aspect=order.aspect,
            length_s=order.length_s,
            look=digest(f"{request.prompt}\n{key}"),
            watermark=request.watermark,
            generation=product.generation,
            model_name=order.inherited.get("model_name", request.model_name),
            mode=order.inherited.get("mode", request.mode),
            pack=product.pack,
            slots=0 if product.is_sync else order.slots,
            count=made_of(order.count, request.prompt),
            sound=order.sound,
            facts={**order.facts, "status": order.status} if product.is_sync else dict(order.facts),
            failure_charged=fate.failure_charged,
        )

    def _new_id(self, key: str, now_s: float) -> str:
        salt = f"{self.config.seed}:{now_s}:{len(self.tasks)}:{key}"
        drawn = hashlib.sha256(salt.encode()).digest()
        return str(_SMALLEST_ID + int.from_bytes(drawn[:8], "big") % _IDS)

    def knows(self, task: SandboxTask) -> bool:
        """Whether the task was added before."""
        return self.shelf.get(task.task_id) is not None

    def add(self, task: SandboxTask) -> None:
        """Take a prepared task, or one from a journal, into the world; a known one changes nothing."""
        if self.knows(task):
            return
        self._settle(task.created_at_s)
        self.shelf.add(task)
        self._issued.add(task)
        self._purses.open_at(task.created_at_s)
        self._purses.hold(task)
        heapq.heappush(self._running, (task.ended_at_s, len(self.tasks), task))
        self._held_slots[task.pack] += task.slots
        self.peak_slots[task.pack] = max(self.peak_slots[task.pack], self._held_slots[task.pack])
        self.peak_in_flight = max(self.peak_in_flight, self._held_slots.total())

    def _settle(self, now_s: float) -> None:
        """Let go of the slots of tasks that have ended by now, and charge what they made."""
        while self._running and self._running[0][0] <= now_s:
            task = heapq.heappop(self._running)[-1]
            self._held_slots[task.pack] -= task.slots
            self._purses.settle(task)

    def told(self, task: SandboxTask) -> SandboxTask:
        """The task as answers tell it: what it made may have been deleted since."""
        if PRODUCTS[task.kind].makes not in {"elements", "voices"} or not self._issued.is_deleted(task):
            return task
        return replace(task, facts={**task.facts, "is_deleted": True})

    def find(self, kind: str, any_id: str, now_s: float) -> SandboxTask | None:
        """See ``Shelf.find``."""
        return self.shelf.find(kind, any_id, now_s)

    def page(self, kind: str, page_num: int, page_size: int, now_s: float) -> Sequence[SandboxTask]:
        """See ``Shelf.page``."""
        return self.shelf.page(kind, page_num, page_size, now_s)

    def finished(self, task_id: str, now_s: float) -> SandboxTask | None:
        """See ``Shelf.finished``."""
        return self.shelf.finished(task_id, now_s)

    def packs(self, now_s: float) -> Sequence[PackState]:
        """The account's packs; the name tells the slots, as the vendor's names do."""
        self._settle(now_s)
        return self._purses.states(now_s)

    def deductions(self, now_s: float) -> Sequence[Deduction]:
        """What the packs have paid by a wall time, oldest first."""
        self._settle(now_s)
        return self._purses.deductions

    def charged_total(self, now_s: float | None = None) -> Decimal:
        """All credits charged by a wall time, or (None) once every task will have ended."""
        if now_s is None:
            now_s = max((task.ended_at_s for task in self.tasks if not math.isinf(task.ended_at_s)), default=0.0)
        return sum((task.charged_at(now_s) for task in self.tasks), Decimal(0))

    def in_flight(self, now_s: float) -> int:
        """Slots held at a wall time."""
        return sum(task.slots for task in self.tasks if task.created_at_s <= now_s < task.ended_at_s)

    def most_requests_in_window(self, window_s: float = WINDOW_S) -> int:
        """The most requests that arrived within any span of so many seconds."""
        most, first = 0, 0
        for last, stamp in enumerate(self.request_stamps):
            while self.request_stamps[first] <= stamp - window_s:
                first += 1
            most = max(most, last - first + 1)
        return most


def _order(request: Request) -> Order | Denied:
    """What the request asks for, or the first refusal."""
    for rule in request.product.rules:
        denied = rule(request)
        if denied is not None:
            return denied
    return request.product.order(request)
