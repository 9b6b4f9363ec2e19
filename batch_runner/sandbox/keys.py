"""Who may speak: a token signed with the account's secret, or its API key."""

from __future__ import annotations

import hmac
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jwt
from jwt.types import Options

from batch_runner.sandbox.codes import Code, Denied

_SCHEME = "Bearer "
_TOKEN_PARTS = 3
_INVALID = Denied(Code.AUTH_INVALID, "Authorization is invalid")
_API_KEY_NEEDED = Denied(
    Code.AUTH_INVALID,
    # The end is own words.
    "Authentication error. The current API does not support AK/SK; please go to the console to create an API key",
)
_UNCHECKED_TIMES: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["iss", "exp"]}


@dataclass(frozen=True, slots=True)
class Keys:
    """The account's keys.

    Attributes:
        access_key, secret_key: sign tokens.
        api_key: is sent as it is.
        leeway_s: seconds of grace for a token's times; the vendor documents none.
    """

    access_key: str
    secret_key: str = field(repr=False)
    api_key: str = field(repr=False)
    leeway_s: float = 0.0

    def check(self, authorization: str | None, now_s: float, *, needs_api_key: bool = False) -> Denied | None:
        """Whether a request with this ``Authorization`` header is refused, and why.

        Where an API key is needed, anything else gets the same text: a token as well as nonsense.
        """
        if not authorization:
            return Denied(Code.AUTH_EMPTY, "Authorization is empty")
        if not authorization.startswith(_SCHEME):
            return _INVALID
        credential = authorization.removeprefix(_SCHEME)
        # A header may hold any byte; aiohttp hands the odd ones on as surrogates.
        if hmac.compare_digest(credential.encode("utf-8", "surrogateescape"), self.api_key.encode()):
            return None
        if needs_api_key:
            return _API_KEY_NEEDED
        parts = credential.count(".") + 1
        if parts != _TOKEN_PARTS:
            return _miscounted(parts)
        return self._check_token(credential, now_s)

    def _check_token(self, token: str, now_s: float) -> Denied | None:
        try:
            claims = _claims(token, self.secret_key)
        except jwt.InvalidTokenError:
            return _INVALID
        times = (claims["exp"], claims.get("nbf", 0))
        if claims["iss"] != self.access_key or not all(isinstance(time, int | float) for time in times):
            return _INVALID
        return self._check_times(*times, now_s)

    def _check_times(self, expires_at_s: float, valid_from_s: float, now_s: float) -> Denied | None:
        if valid_from_s > now_s + self.leeway_s:
            return Denied(Code.AUTH_EARLY, "Authorization is not yet valid")
        if expires_at_s <= now_s - self.leeway_s:
            return Denied(Code.AUTH_EXPIRED, "Authorization has expired")
        return None


@lru_cache(maxsize=64)
def _claims(token: str, secret_key: str) -> Mapping[str, Any]:
    """What a token says; a client sends the same one with many requests."""
    # The library would judge the times by the machine's clock instead of the service's.
    with warnings.catch_warnings():
        # PyJWT warns of keys under 32 bytes; whoever starts a sandbox may give it any.
        warnings.simplefilter("ignore", UserWarning)
        return jwt.decode(token, secret_key, algorithms=["HS256"], options=_UNCHECKED_TIMES)


def _miscounted(parts: int) -> Denied:
    # The recorded text counts a key without any dot as no part at all.
    counted = {1: "0", 2: "2"}.get(parts, f"> {_TOKEN_PARTS}")
    return Denied(Code.AUTH_INVALID, f"The token was expected to have 3 parts, but got {counted}")
