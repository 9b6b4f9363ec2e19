"""Keys, tokens and the address they may travel to."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import jwt
import pytest

from batch_runner.errors import AccountError, UsageError
from batch_runner.kling import Credentials, TokenSource, api_origin, open_session

ACCESS, SECRET, API_KEY = "AK-access-0123456789", "SK-secret-0123456789", "api-key-0123456789"


class SetClock:
    def __init__(self, wall_s: float = 1_800_000_000.0) -> None:
        self.now_s = wall_s

    def wall_s(self) -> float:
        return self.now_s

    def epoch(self) -> str:
        return "set"

    def uptime_s(self) -> float:
        return self.now_s


def claims_of(authorization: str) -> dict[str, Any]:
    scheme, token = authorization.split(" ")
    assert scheme == "Bearer"
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    options: Any = {"verify_exp": False, "verify_nbf": False}
    claims: dict[str, Any] = jwt.decode(token, SECRET.ljust(32, "-"), algorithms=["HS256"], options=options)
    return claims


def pair(clock: SetClock) -> TokenSource:
    return TokenSource(Credentials.from_key_pair(ACCESS, SECRET.ljust(32, "-")), clock)


def test_a_token_carries_the_three_documented_claims_and_no_others() -> None:
    assert claims_of(pair(SetClock()).authorization()) == {
        "iss": ACCESS,
        "exp": 1_800_001_800,
        "nbf": 1_799_999_995,
    }


def test_a_short_secret_key_signs_without_a_warning() -> None:
    assert TokenSource(Credentials.from_key_pair("a", "b"), SetClock()).authorization()


def test_a_token_is_kept_for_four_fifths_of_its_life() -> None:
    clock = SetClock()
    tokens = pair(clock)
    first = tokens.authorization()
    clock.now_s += 1439.0
    assert tokens.authorization() == first
    clock.now_s += 1.0
    assert claims_of(tokens.authorization())["exp"] == int(clock.now_s) + 1800


def test_a_clock_set_back_brings_a_new_token() -> None:
    clock = SetClock()
    tokens = pair(clock)
    tokens.authorization()
    clock.now_s -= 3600.0
    assert claims_of(tokens.authorization())["nbf"] == int(clock.now_s) - 5


@pytest.mark.parametrize("skew_s", [-7200.0, -30.0, 30.0, 7200.0])
def test_renewing_goes_by_the_servers_clock_from_then_on(skew_s: float) -> None:
    clock = SetClock()
    tokens = pair(clock)
    assert tokens.renew(formatdate(clock.now_s + skew_s, usegmt=True))
    assert claims_of(tokens.authorization())["exp"] == int(clock.now_s + skew_s) + 1800
    clock.now_s += 1500.0
    assert claims_of(tokens.authorization())["exp"] == int(clock.now_s + skew_s) + 1800


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sat, 99 Nov 2026 09:30:00 GMT"])
def test_an_unreadable_date_leaves_our_own_clock_in_charge(date: str | None) -> None:
    clock = SetClock()
    tokens = pair(clock)
    assert tokens.renew(date)
    assert claims_of(tokens.authorization())["exp"] == int(clock.now_s) + 1800


def test_an_api_key_is_sent_as_it_is_and_cannot_be_renewed() -> None:
    tokens = TokenSource(Credentials.from_api_key(f" {API_KEY}\n"), SetClock())
    assert tokens.authorization() == f"Bearer {API_KEY}"
    assert not tokens.renew(formatdate(0, usegmt=True))
    assert tokens.authorization() == f"Bearer {API_KEY}"


def test_an_api_key_beside_a_pair_is_used_for_everything() -> None:
    credentials = Credentials.from_keys(ACCESS, SECRET, API_KEY)
    tokens = TokenSource(credentials, SetClock())
    assert tokens.authorization() == f"Bearer {API_KEY}"
    assert tokens.has_api_key
    assert set(credentials.secrets) == {ACCESS, SECRET, API_KEY}


@pytest.mark.parametrize(
    ("keys", "has_api_key"),
    [((ACCESS, SECRET, None), False), ((None, None, API_KEY), True), ((ACCESS, None, API_KEY), True)],
)
def test_whatever_keys_there_are_will_do(keys: tuple[str | None, str | None, str | None], has_api_key: bool) -> None:  # noqa: FBT001 - a column
    assert TokenSource(Credentials.from_keys(*keys), SetClock()).has_api_key is has_api_key


@pytest.mark.parametrize("keys", [(None, None, None), (ACCESS, None, None), (None, SECRET, ""), ("", "", " ")])
def test_too_few_keys_are_refused(keys: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(AccountError, match="copy it again"):
        Credentials.from_keys(*keys)


def test_no_secret_shows_in_any_text_of_credentials_or_tokens() -> None:
    pair, key = Credentials.from_key_pair(ACCESS, SECRET), Credentials.from_api_key(API_KEY)
    for credentials in (pair, key, Credentials.from_keys(ACCESS, SECRET, API_KEY)):
        tokens = TokenSource(credentials, SetClock())
        token = tokens.authorization().removeprefix("Bearer ")
        shown = f"{credentials} {credentials!r} {tokens} {tokens!r} {copy.copy(credentials)!r}"
        assert not any(secret in shown for secret in (ACCESS, SECRET, API_KEY, token))
        assert tokens.hide(f"x {token} y {' '.join(credentials.secrets)}").count("[removed]") >= 2


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "schlüssel-0123", "nul\x00"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(key: str) -> None:
    makers: list[Callable[[], Credentials]] = [
        lambda: Credentials.from_api_key(key),
        lambda: Credentials.from_key_pair(key, SECRET),
        lambda: Credentials.from_key_pair(ACCESS, key),
    ]
    for make in makers:
        with pytest.raises(AccountError, match="copy it again") as caught:
            make()
        assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://api-singapore.klingai.com", "https://api-singapore.klingai.com"),
        (" https://api.example.com:8443/ ", "https://api.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_api_origin_is_scheme_host_and_port(base_url: str, origin: str) -> None:
    assert str(api_origin(base_url)) == origin


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.klingai.com",
        "ftp://api.klingai.com",
        "https://",
        "https://user:pa55word@api.klingai.com",
        "https://api.klingai.com/v1",
        "https://api.klingai.com?key=pa55word",
        "https://api.klingai.com#x",
        "https://api.klingai.com:port",
        "http://api.klingai.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
    ],
)
def test_an_address_unfit_for_keys_is_refused_without_its_password(base_url: str) -> None:
    with pytest.raises(UsageError, match="base URL") as caught:
        api_origin(base_url)
    assert "pa55word" not in str(caught.value)


def test_sessions_use_proxies_for_https_only() -> None:
    async def main() -> tuple[bool, bool]:
        async with open_session("https://api.klingai.com") as far, open_session("http://127.0.0.1:1") as near:
            return far.trust_env, near.trust_env

    assert asyncio.run(main()) == (True, False)
