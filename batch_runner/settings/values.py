"""What an option's value may be: a parser returns the checked value or raises ``ValueError`` saying why."""

from __future__ import annotations

import difflib
import ipaddress
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from batch_runner.budgets import UNITS_S, RollingBudget
from batch_runner.model import Pack

_PLAIN_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?|\.[0-9]{1,9}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_LARGEST = Decimal(10) ** 12
_DECIMALS = 9
_LARGEST_COUNT = 1_000_000
_NAME_BYTES = 120
_LARGEST_PORT = 65_535
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):([0-9]{1,5})")
_SHOWN_CHARACTERS = 60


def shown(value: object) -> str:
    """A value as an error shows it: on one line, harmless to a terminal, not endless, nothing nested."""
    if isinstance(value, Mapping | list | tuple):
        return "a table" if isinstance(value, Mapping) else "a list"
    text = repr(str(value) if isinstance(value, Decimal | Path) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def nearest(word: str, names: list[str]) -> str:
    """A hint: the known name nearest to a wrong one, or all of them."""
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"


def line_of_text(value: object) -> str:
    """A line of printable text, without the space around it."""
    if not isinstance(value, str) or not value.strip() or not value.strip().isprintable():
        raise ValueError(f"{shown(value)} is not a line of text")
    return value.strip()


def path(value: object) -> Path:
    """A path; ``~`` is the home folder."""
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValueError(f"{shown(value)} is not a path")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"the home folder in {shown(value)} is not known here; write the full path") from None


def check_batch_name(value: object) -> str:
    """The name of a batch, which is also a folder below the output folder.

    Raises:
        ValueError: it cannot be one; the text says why.
    """
    name = line_of_text(value)
    if re.search(r"[/\\:]", name) or name.startswith((".", "-")):
        raise ValueError(f"{shown(name)} cannot name a folder: leave out / \\ : and a leading dot or dash")
    if name.lower().startswith("state.db"):
        raise ValueError(f"{shown(name)} is taken by the state file; choose another name")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{shown(name)} is not valid Unicode text") from None
    try:
        name.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        raise ValueError(f"{shown(name)} cannot be a folder's name in this locale; set LC_ALL=C.UTF-8") from None
    if size > _NAME_BYTES:
        raise ValueError(f"{shown(name)} is longer than {_NAME_BYTES} bytes")
    return name


def one_of(*words: str) -> Callable[[object], str]:
    """A parser of one of these words."""

    def parse(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in words:
            raise ValueError(f"{shown(value)} is none of {', '.join(words)}")
        return word

    return parse


def whole(least: int, most: int = _LARGEST_COUNT) -> Callable[[object], int]:
    """A parser of whole numbers from ``least`` to ``most``."""

    def parse(value: object) -> int:
        text = str(value).strip()
        if isinstance(value, bool | float | Decimal) or not _WHOLE_NUMBER.fullmatch(text):
            raise ValueError(f"{shown(value)} is not a whole number, {least} or more")
        if not least <= int(text) <= most:
            raise ValueError(f"{shown(value)} is out of range: from {least} to {most}")
        return int(text)

    return parse


def _number(value: object) -> Decimal | None:
    """A plain number, 0 or more, from text, int or Decimal; None when it is anything else."""
    if isinstance(value, str):
        return Decimal(value.strip()) if _PLAIN_NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    if not number.is_finite() or not 0 <= number < _LARGEST or number != round(number, _DECIMALS):
        return None
    return abs(number)  # a minus zero would be shown with its sign


def real(unit: str, *, zero: bool = False) -> Callable[[object], float]:
    """A parser of positive figures that are no money, in ``unit``; ``zero`` is allowed or not."""
    wanted = f"a number of {unit}, {'0 or more' if zero else 'above 0'}"

    def parse(value: object) -> float:
        number = _number(str(value) if isinstance(value, float) else value)
        if number is None or (number == 0 and not zero):
            raise ValueError(f"{shown(value)} is not {wanted}")
        return float(number)

    return parse


def percent(value: object) -> Decimal:
    """Percent from 0 to 100, exactly as written."""
    number = _number(str(value) if isinstance(value, float) else value)
    if number is None or number > 100:  # noqa: PLR2004 - what percent means
        raise ValueError(f"{shown(value)} is not a number of percent from 0 to 100")
    return number


def switch(value: object) -> bool:
    """Yes or no, as a word, a digit or a bool."""
    word = str(value).strip().lower()
    if word in {"1", "true", "yes"}:
        return True
    if word in {"0", "false", "no"}:
        return False
    raise ValueError(f"{shown(value)} is neither yes nor no (1, true, yes or 0, false, no)")


def _credits(value: object) -> Decimal:
    """Credits from text, int or Decimal; a float has already lost digits and is refused."""
    number = _number(value)
    if number is None:
        hint = "; write it as text or Decimal" if isinstance(value, float) else ""
        raise ValueError(f"{shown(value)} is not a plain number of credits, 0 or more, such as 100 or 3.5{hint}")
    return number


def _budget_parts(value: object) -> Iterator[tuple[str, object]]:
    """Every (pack, credits) pair that a budget's spelling names."""
    if isinstance(value, Mapping):
        yield from ((str(pack), inner) for pack, inner in value.items())
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _budget_parts(part)
    elif isinstance(value, str):
        for part in value.split(","):
            pack, equals, figure = part.partition("=")
            yield (pack.strip(), figure) if equals else (Pack.VIDEO.value, part)
    else:
        yield Pack.VIDEO.value, value


def budget(value: object) -> dict[str, Decimal]:
    """Credits by pack: ``100``, ``image=50``, several by comma, a list or a table."""
    credits_by_pack: dict[str, Decimal] = {}
    packs = [pack.value for pack in Pack]
    for pack, figure in _budget_parts(value):
        if pack not in packs:
            raise ValueError(f"there is no pack {shown(pack)} ({nearest(pack, packs)})")
        if pack in credits_by_pack:
            raise ValueError(f"pack {pack} is given twice (no comma inside a number)")
        credits_by_pack[pack] = _credits(figure)
    return credits_by_pack


_WINDOW = re.compile(rf"([1-9][0-9]{{0,8}})([{''.join(UNITS_S)}])")
_LONGEST_WINDOW_S = 3660 * 86_400


def _window_s(value: object) -> int:
    """Seconds of a window such as ``1d`` or ``90m``."""
    found = _WINDOW.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{shown(value)} is not a window, such as 90m, 6h, 1d or 30d")
    window_s = int(found[1]) * UNITS_S[found[2]]
    if window_s > _LONGEST_WINDOW_S:
        raise ValueError(f"the window {shown(value)} is too long: ten years at most")
    return window_s


def _rolling_parts(value: object) -> Iterator[tuple[object, object, object]]:
    """Every (pack, credits, window) that a rolling budget's spelling names."""
    if isinstance(value, Mapping):
        yield _rolling_table({str(key): inner for key, inner in value.items()})
        return
    if isinstance(value, list | tuple):
        for part in value:
            yield from _rolling_parts(part)
        return
    for part in str(value).split(","):
        pack, equals, rest = part.rpartition("=")
        figure, slash, window = rest.partition("/")
        if not slash:
            raise ValueError(f"{shown(value)} is no rolling budget: write credits and window, such as 50/1d")
        yield (pack.strip() if equals else Pack.VIDEO.value, figure, window)


def _rolling_table(table: Mapping[str, object]) -> tuple[object, object, object]:
    known = ["window", "credits", "pack"]
    for key in table:
        if key not in known:
            raise ValueError(f"a rolling budget has no {shown(key)} ({nearest(key, known)})")
    for key in known[:2]:
        if key not in table:
            raise ValueError(f"a rolling budget needs {key}")
    return table.get("pack", Pack.VIDEO.value), table["credits"], table["window"]


def rolling_budget(value: object) -> dict[str, RollingBudget]:
    """Rolling budgets by name: ``50/1d``, ``image=20/30d``, several by comma, a list, tables of the settings file."""
    found: dict[str, RollingBudget] = {}
    packs = [pack.value for pack in Pack]
    for pack, figure, window in _rolling_parts(value):
        if pack not in packs:
            raise ValueError(f"there is no pack {shown(pack)} ({nearest(str(pack), packs)})")
        budget_ = RollingBudget(str(pack), _window_s(window), _credits(figure))
        if budget_.name in found:
            raise ValueError(f"the rolling budget {budget_.name} is given twice")
        found[budget_.name] = budget_
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(value: object) -> SplitResult:
    """An address without anything secret; a wrong one is not repeated, for it may hold a password."""
    text = value.strip() if isinstance(value, str) else ""
    odd = not text.isprintable() or " " in text or "\\" in text
    try:
        parts = urlsplit("" if odd else text)
        host, _port = parts.hostname, parts.port
        if host and ":" not in host:
            host.encode("idna")
    except ValueError:
        raise ValueError("the address is malformed (such as https://api.example.com)") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("the address must be https:// and a host, such as https://api.example.com")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("the address must hold no user name, password, query or fragment")
    return parts


def base_url(value: object) -> str:
    """The API's address."""
    parts = _address(value)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("http:// would send the keys in the clear; it is for this machine only, use https://")
    if parts.path.strip("/"):
        raise ValueError("the address must be scheme, host and port alone, without a path")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def callback_url(value: object) -> str:
    """The public address at which a service can call."""
    parts = _address(value)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("http:// is for a test server on this machine only; the service calls https:// addresses")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", parts.path) or "//" in parts.path:
        raise ValueError("the address's path may hold letters, digits, dots, dashes and single slashes only")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path or '/'}"


def host_and_port(value: object) -> tuple[str, int]:
    """Where to listen: ``127.0.0.1:8080``, ``[::1]:8080``, ``:8080`` for every address of this machine."""
    found = _LISTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or int(found[3]) > _LARGEST_PORT:
        raise ValueError(f"{shown(value)} is not a place to listen at, such as 127.0.0.1:8080")
    return found[1] or found[2] or "0.0.0.0", int(found[3])  # noqa: S104 - only where the user leaves the host out
