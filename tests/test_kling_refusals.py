"""The table of codes, the texts that refine it, and the texts of failed tasks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.kling import failure_of, for_person
from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.refusals import CODES, classify, code_of
from batch_runner.model import Verdict

TABLE = {
    Verdict.ACCOUNT: (1000, 1001, 1002, 1100, 1101, 1102, 1103, 1304),
    Verdict.TOKEN: (1003, 1004),
    Verdict.REJECTED: (1200, 1201, 1202, 1203),
    Verdict.POLICY: (1300, 1301),
    Verdict.RATE: (1302,),
    Verdict.SLOT: (1303,),
    Verdict.SERVER: (5000, 5001, 5002),
}
EVERY_CODE = [(code, verdict) for verdict, codes in TABLE.items() for code in codes]


def test_the_table_knows_exactly_the_documented_codes() -> None:
    assert sorted(CODES) == sorted(code for code, _ in EVERY_CODE)


@pytest.mark.parametrize(("code", "verdict"), EVERY_CODE)
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_a_code_decides_whatever_the_status_and_whether_number_or_text(
    code: int, verdict: Verdict, status: int
) -> None:
    for form in (code, str(code), Decimal(code)):
        refusal = classify(status, form, "some text", {})
        assert (refusal.verdict, refusal.code, refusal.http_status) == (verdict, code, status)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.SERVER),
        (302, Verdict.SERVER),
        (400, Verdict.ODD),
        (401, Verdict.ACCOUNT),
        (403, Verdict.ACCOUNT),
        (404, Verdict.ODD),
        (408, Verdict.SERVER),
        (413, Verdict.ODD),
        (425, Verdict.SERVER),
        (429, Verdict.RATE),
        (500, Verdict.SERVER),
        (502, Verdict.SERVER),
        (599, Verdict.SERVER),
    ],
)
@pytest.mark.parametrize("no_code", [None, "", "abc", 0, "0", True, -5, 1.5, [], {}])
def test_without_a_code_the_status_decides(status: int, verdict: Verdict, no_code: Any) -> None:
    assert classify(status, no_code, "", {}).verdict is verdict


@pytest.mark.parametrize("code", [1, 999, 1005, 1204, 1305, 4242, 5003, 999_999_999])
def test_an_undocumented_code_settles_nothing(code: int) -> None:
    assert classify(400, code, "who knows", {}).verdict is Verdict.ODD


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ODD),
        (302, Verdict.ODD),
        (401, Verdict.ACCOUNT),
        (403, Verdict.ACCOUNT),
        (404, Verdict.ODD),
        (408, Verdict.SERVER),
        (429, Verdict.RATE),
        (500, Verdict.SERVER),
        (503, Verdict.SERVER),
    ],
)
def test_a_gateway_that_repeats_the_status_as_a_code_means_no_more_than_the_status(
    status: int, verdict: Verdict
) -> None:
    for code in (status, 4242):
        assert classify(status, code, "who knows", {}).verdict is verdict


def test_an_id_that_exists_already_is_no_rejection() -> None:
    refusal = classify(400, 1201, "External_task_id b-1-2 already exists", {})
    assert refusal.verdict is Verdict.EXISTS


@pytest.mark.parametrize(
    ("code", "message", "reading", "verdict"),
    [
        (1201, "Task not found by id/external id: x", True, Verdict.NOT_FOUND),
        (1203, "no such resource", True, Verdict.NOT_FOUND),
        (1203, "kling-v9 is not supported for this API", False, Verdict.REJECTED),
        (1201, "From video not found by id: x", False, Verdict.REJECTED),
        (1201, "Voice id not found", False, Verdict.REJECTED),
        (1201, "page size is invalid", True, Verdict.REJECTED),
    ],
)
def test_not_found_speaks_of_our_task_only_in_a_query(
    code: int,
    message: str,
    reading: bool,  # noqa: FBT001 - a column of the table
    verdict: Verdict,
) -> None:
    assert classify(400, code, message, {}, reading=reading).verdict is verdict


NO_KEY_PAIR = "Authentication error. The current API does not support AK/SK; please go to the console"


@pytest.mark.parametrize("code", [1002, "1002"])
def test_a_key_pair_on_a_route_for_api_keys_is_the_account_in_words_that_help(code: Any) -> None:
    refusal = classify(401, code, NO_KEY_PAIR, {})
    assert refusal.verdict is Verdict.ACCOUNT
    assert "KLING_API_KEY" in for_person(refusal)
    assert "KLING_API_KEY" not in for_person(classify(401, 1002, "Auth failed", {}))
    assert "KLING_API_KEY" not in for_person(classify(401, 1000, NO_KEY_PAIR, {}))


@pytest.mark.parametrize(
    ("status", "code", "text", "verdict"),
    [
        (400, 1201, "task_ids and external_task_ids cannot exceed 20 in total", Verdict.REJECTED),
        (400, 1201, "video resolution value '4k' is invalid", Verdict.REJECTED),
        (400, 1201, "contents cannot be empty", Verdict.REJECTED),
        (400, 1201, "Duration only supports 5 or 10 seconds when no refer_image is provided", Verdict.REJECTED),
        (400, 1201, "model is not supported", Verdict.REJECTED),
        (400, 1201, "Voice language not found", Verdict.REJECTED),
        (400, 1201, "From video not found by id: 77", Verdict.REJECTED),
        (400, 1200, "Missing Request Parameter", Verdict.REJECTED),
        (404, 1203, "kling-v3-turbo is not supported for this API", Verdict.REJECTED),
        (429, 1303, "parallel task over resource pack limit", Verdict.SLOT),
        (400, 1201, "External_task_id b-1-1 already exists", Verdict.EXISTS),
    ],
)
def test_the_texts_seen_on_either_generations_creates(status: int, code: int, text: str, verdict: Verdict) -> None:
    assert classify(status, code, text, {}).verdict is verdict


@pytest.mark.parametrize(
    ("headers", "retry_after_s"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        (
            {"Retry-After": "Sat, 21 Nov 2026 09:30:20 GMT", "Date": "Sat, 21 Nov 2026 09:30:00 GMT"},
            20.0,
        ),
        ({"Retry-After": "Sat, 21 Nov 2026 09:30:20 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(headers: dict[str, str], retry_after_s: float | None) -> None:
    assert classify(429, 1302, "", headers).retry_after_s == retry_after_s


@given(st.integers(100, 599), st.none() | st.integers() | st.text() | st.floats(), st.text(), st.text())
def test_any_answer_can_be_classified_and_told(status: int, code: Any, message: str, wish: str) -> None:
    refusal = classify(status, code, message, {"Retry-After": wish}, reading=True)
    assert len(refusal.message) <= 300
    assert "\n" not in for_person(refusal)


def test_a_person_reads_code_text_and_what_to_do() -> None:
    text = for_person(classify(429, 1102, "Account balance not enough", {}))
    assert "code 1102: Account balance not enough" in text
    assert "buy one" in text
    assert for_person(classify(502, None, "", {})).endswith("(HTTP 502)")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\r\n b\t\x1b[31mc\u202e\u2028d\ud800", "a b [31mc d"),
        ("see https://cdn.example.com/a?Expires=1&Signature=abc now", "see https://cdn.example.com/a?[removed] now"),
        ("cdn.example.com/a.mp4?sig=abc", "cdn.example.com/a.mp4?[removed]"),
        ("https://me:pa55@example.com/", "https://[removed]@example.com/"),
        ("got Bearer abcdef123456", "got Bearer [removed]"),
        ("token eyJhbGciOiJI.eyJpc3MiOiJB.c2ln-_x bad", "token [removed] bad"),
        ("api_key=abcdef123456, mode", "api_key=[removed], mode"),
        ("mode value 'std' is invalid", "mode value 'std' is invalid"),
    ],
)  # fmt: skip
def test_texts_are_cleaned(text: str, clean: str) -> None:
    assert clean_text(text) == clean


def test_long_texts_are_shortened() -> None:
    assert clean_text("x" * 10**6) == "x" * 299 + "…"


@given(st.text())
def test_a_cleaned_text_is_one_short_writable_line(text: str) -> None:
    clean = clean_text(text)
    assert len(clean) <= 300
    assert clean.isprintable()
    clean.encode()


@given(st.integers() | st.text() | st.floats() | st.booleans() | st.decimals())
def test_a_code_is_a_small_natural_number_or_nothing(value: Any) -> None:
    code = code_of(value)
    assert code is None or 0 <= code < 10**9


@pytest.mark.parametrize(
    ("text", "reason", "transient"),
    [
        ("Failure to pass the risk control system", "policy", False),
        ("The content violates our content policy", "policy", False),
        ("generation time out", "generation", True),
        ("Generation timed out", "generation", True),
        ("internal error", "generation", True),
        ("system error", "generation", True),
        ("service busy", "generation", True),
        ("Image pixel is invalid", "generation", False),
        ("there is no human in the video", "generation", False),
        ("", "generation", False),
    ],
)
def test_the_text_of_a_failed_task_tells_whose_doing_it_was(text: str, reason: str, transient: bool) -> None:  # noqa: FBT001 - a column of the table
    assert failure_of(text) == (reason, transient)
