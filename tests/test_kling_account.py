"""The account's packs and deductions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from kling_stub import Scene, Step, drop, ok, play, refuse, trouble_of

from batch_runner.errors import AccountError
from batch_runner.kling import AccountPack, Deduction, account_concurrency
from batch_runner.kling.packs import parse_packs
from batch_runner.model import Pack

NOW_S = 1_800_000_000.0


def row(name: str = "Trial-Video-100Units-5Con-1Months", **changes: Any) -> dict[str, Any]:
    return {
        "resource_pack_name": name,
        "resource_pack_id": "9",
        "resource_pack_type": "decreasing_total",
        "total_quantity": 100,
        "remaining_quantity": Decimal("93.6"),
        "purchase_time": 1_790_000_000_000,
        "effective_time": 1_790_000_000_000,
        "invalid_time": 1_810_000_000_000,
        "status": "online",
        **changes,
    }


def packs(*rows: dict[str, Any]) -> list[AccountPack]:
    return parse_packs({"resource_pack_subscribe_infos": list(rows)})


def test_a_pack_is_read_whole() -> None:
    (pack,) = packs(row())
    assert pack == AccountPack(
        name="Trial-Video-100Units-5Con-1Months",
        status="online",
        total=Decimal(100),
        remaining=Decimal("93.6"),
        expires_at_s=1_810_000_000.0,
        effective_at_s=1_790_000_000.0,
        type="decreasing_total",
    )


@pytest.mark.parametrize(
    ("name", "pack", "concurrency"),
    [
        ("Trial-Video-100Units-5Con-1Months", Pack.VIDEO, 5),
        ("Trial-Image-1000Units-9Con-1Months", Pack.IMAGE, 9),
        ("Standard-Video-5000Units-20con-6Months", Pack.VIDEO, 20),
        ("Virtual Try-On 10000 Units", Pack.TRY_ON, None),
        ("kolors_virtual_tryon-image-3Con", Pack.TRY_ON, 3),
        ("Video-100Units-12Concurrency", Pack.VIDEO, 12),
        ("Conference-100Conquest", None, None),
        ("Video-A5Con-100000Con", Pack.VIDEO, None),
        ("", None, None),
    ],
)
def test_a_packs_name_tells_its_currency_and_concurrency(name: str, pack: Pack | None, concurrency: int | None) -> None:
    (found,) = packs(row(name))
    assert (found.pack, found.concurrency) == (pack, concurrency)


@pytest.mark.parametrize(
    ("changes", "active"),
    [
        ({}, True),
        ({"remaining_quantity": None, "effective_time": None, "invalid_time": None}, True),
        ({"status": "toBeOnline"}, False),
        ({"status": "runOut"}, False),
        ({"remaining_quantity": 0}, False),
        ({"invalid_time": 1_799_999_999_000}, False),
        ({"effective_time": 1_800_000_001_000}, False),
    ],
)
def test_a_pack_is_active_between_its_moments_while_something_is_left(changes: dict[str, Any], active: bool) -> None:  # noqa: FBT001 - a column
    (pack,) = packs(row(**changes))
    assert pack.is_active(NOW_S) is active


def test_packs_do_not_add_up_their_concurrency() -> None:
    rows = [
        row("Video-5Con"),
        row("Video-10Con"),
        row("Video-20Con", status="expired"),
        row("Image-9Con"),
        row("Video-Units"),
    ]
    found = [account_concurrency(packs(*rows), pack, NOW_S) for pack in (Pack.VIDEO, Pack.IMAGE, Pack.TRY_ON)]
    assert found == [10, 9, None]


DEDUCTED = {
    "task_id": 77,
    "api_key_name": "default",
    "product_function": "text2video",
    "model_name": "kling-v3",
    "duration": "5.04",
    "deduction_time": 1_800_000_000_000,
}


@pytest.mark.parametrize(
    ("amounts", "amount", "left"),
    [
        ({"amount_before": "10.5", "amount_after": "7"}, "3.5", "7"),
        ({"quantity_before_deduction": 10, "quantity_after_deduction": 7, "deduction_quantity": "3.00"}, "3.00", "7"),
        ({"deducted_units": "3.5"}, "3.5", None),
        ({"amount_before": "7", "amount_after": "10"}, None, "10"),
        ({"amount_before": "7", "amount_before_tax": "7", "amount_after": "6"}, None, "6"),
        ({}, None, None),
    ],
)
def test_what_was_taken_is_read_or_worked_out(amounts: dict[str, Any], amount: str | None, left: str | None) -> None:
    async def act(stage: Scene) -> list[Deduction]:
        rows, cursor = await stage.client.deductions(start_ms=1, end_ms=2)
        assert cursor is None
        return rows

    ((deduction,), stage) = play(act, ok({"result": [DEDUCTED | amounts], "has_more": False}))
    assert (deduction.task_id, deduction.function, deduction.model) == ("77", "text2video", "kling-v3")
    assert deduction.deducted_at_s == NOW_S
    assert deduction.amount == (None if amount is None else Decimal(amount))
    assert deduction.left == (None if left is None else Decimal(left))
    assert stage.stub.seen[0].json == {"start_time": 1, "end_time": 2, "limit": 100}


def test_deductions_from_packs_are_read_as_the_vendor_documents_them() -> None:
    documented = DEDUCTED | {
        "package_id": "p",
        "product_type": "try-on",
        "deduction_time": "1800000000000",
        "unit_before_deduction": 13037.3,
        "deduction_amount": 5.0,
        "unit_after_deduction": 13032.3,
    }

    async def act(stage: Scene) -> list[Deduction]:
        rows, _ = await stage.client.deductions(start_ms=1, end_ms=2)
        return rows

    answer = {"result": {"detail": [documented], "count": 1}, "next_cursor": "", "has_more": False}
    ((deduction,), _) = play(act, ok(answer))
    assert (deduction.amount, deduction.left, deduction.pack) == (Decimal(5), Decimal("13032.3"), Pack.TRY_ON)
    assert deduction.deducted_at_s == NOW_S


def test_deductions_go_on_from_cursor_to_cursor_and_are_no_submissions() -> None:
    async def act(stage: Scene) -> str | None:
        _, cursor = await stage.client.deductions(start_ms=1, end_ms=2, limit=1)
        _, end = await stage.client.deductions(cursor, of_balance=True, limit=1)
        return end

    first = ok({"result": [DEDUCTED], "has_more": True, "next_cursor": "c2"})
    end, stage = play(act, first, ok({"result": []}))
    assert end is None
    assert [seen.target for seen in stage.stub.seen] == ["/account/billing/package", "/account/billing/balance"]
    assert stage.stub.seen[1].json == {"cursor": "c2", "limit": 1}
    counts = stage.client.requests
    assert (counts.total, counts.submit, counts.poll) == (2, 0, 0)


Ask = Callable[[Scene], Any]


@pytest.mark.parametrize(
    "step",
    [
        drop,
        ok(None),
        ok([]),
        ok({}),
        ok({"result": {}}),
        ok({"result": [{}]}),
        ok({"result": [5]}),
        ok({"result": [], "has_more": True}),
        ok({"result": [], "has_more": True, "next_cursor": "c1"}),
        refuse(500, 5000),
        refuse(404, 1203),
    ],
)
def test_what_is_no_list_of_deductions_is_trouble(step: Step) -> None:
    assert str(trouble_of(lambda stage: stage.client.deductions("c1"), step))


def test_an_account_that_may_not_ask_is_told_so() -> None:
    async def act(stage: Scene) -> None:
        with pytest.raises(AccountError, match="permissions"):
            await stage.client.deductions("c1")
        with pytest.raises(ValueError, match="moments"):
            await stage.client.deductions(start_ms=1)

    _, stage = play(act, refuse(403, 1103))
    assert len(stage.stub.seen) == 1
