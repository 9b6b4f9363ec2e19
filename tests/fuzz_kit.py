"""What the fuzz targets share: how deep they look, values that JSON can hold, and bytes that went wrong.

A usual run draws the same few hundred examples every time. ``FUZZ_EXAMPLES=20000 pytest tests/test_fuzz_*.py`` draws so
many new ones for every target; a failure prints the example, shrunk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

DEEP = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def fuzzing(examples: int) -> settings:
    """The settings of one target that usually draws so many examples."""
    return settings(
        max_examples=DEEP or examples,
        derandomize=not DEEP,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


numbers = st.one_of(
    st.integers(-3, 20),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**30, -(10**30), 1e308, 0.1, -0.0]),
)
odd_texts = ["", " ", "5", "std", "text2video", "\x00", "\U0001d518", "../x", "\xe9", "e\u0301"]
texts = st.one_of(st.sampled_from(odd_texts), st.text(max_size=8))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)


def values(
    leaves: st.SearchStrategy[object] = scalars, keys: st.SearchStrategy[str] = texts
) -> st.SearchStrategy[object]:
    """Anything that JSON can say, a few levels deep."""
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
    )


@st.composite
def spoilt(draw: st.DrawFn, content: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some were changed, cut off, doubled or put in."""
    data = bytearray(draw(content))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["change", "cut", "insert", "double"]))
        if how == "cut":
            del data[place:]
        elif how == "insert":
            data[place:place] = draw(st.binary(max_size=6))
        elif how == "double":
            data[place:place] = data[:place]
        elif place < len(data):
            data[place] = draw(st.integers(0, 255))
    return bytes(data[: 64 * 1024])


def joined(lines: Sequence[bytes]) -> bytes:
    return b"\n".join(lines)
