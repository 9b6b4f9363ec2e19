"""Small things that several tests of the store need."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_runner.catalog import PriceBook
from batch_runner.model import Item, Pack, Price
from batch_runner.store import SqliteStore, Store
from batch_runner.virtual_time import VirtualClock, run_virtual


def item(item_id: str, line: int = 1, credits_: str = "2", *, text: str = "", priority: int = 0) -> Item:
    body = json.dumps({"prompt": text or item_id}, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(body.encode()).hexdigest()
    price = Price(Pack.VIDEO, Decimal(credits_), "test")
    return Item(item_id, line, "text2video", priority, body, digest, price)


def items(*rows: Item) -> Callable[[], Iterable[Item]]:
    return lambda: iter(rows)


def with_store(path: Path, work: Callable[[Store], Coroutine[Any, Any, None]], book: PriceBook | None = None) -> None:
    """Run ``work`` on a freshly opened store under virtual time, and close it."""

    async def main() -> None:
        clock = VirtualClock(asyncio.get_running_loop())
        store = await SqliteStore.open(path, clock, book=book)
        try:
            await work(store)
        finally:
            await store.close()

    run_virtual(main)
