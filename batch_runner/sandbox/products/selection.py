"""The five calls that choose what multi-elements is to exchange in a video; each is answered at once.

A call that is understood but cannot be done says so by ``status`` in its answer, with code 0; it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_runner.sandbox.codes import Denied, empty, invalid
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.editing import EDITING, parent_facts, session_of
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

DONE, LENGTH_UNFIT, NOTHING_MARKED = 0, 1, 2
"""Values of ``status``; the vendor documents that 0 is success and no other (own numbers)."""

_LENGTHS_S = ((2, 5), (7, 10))
_SLACK_S = 0.1
_MOST_FRAMES, _MOST_POINTS = 10, 10

Marks = dict[str, list[list[float]]]
"""Points by frame, as JSON has them."""


def _opened(request: Request) -> Order | Denied:
    seen = media.video(request, "video_id", "video_url", 0, float("inf"))
    if isinstance(seen, Denied):
        return seen
    source = seen.source
    fits = any(low <= source.length_s <= high + _SLACK_S for low, high in _LENGTHS_S)
    return Order(
        0,
        source.aspect,
        source.length_s,
        lengths=seen.lengths,
        facts=parent_facts(source) | {"marked": {}},
        status=DONE if fits else LENGTH_UNFIT,
    )


def _marked(request: Request) -> tuple[str, Marks] | Denied:
    session = session_of(request, EDITING)
    if isinstance(session, Denied):
        return session
    return session.session_id, {str(frame): [*points] for frame, points in session.marked.items()}


def _points(request: Request) -> Denied | None:
    frame, points = request.body.get("frame_index"), request.given("points")
    if not clauses.is_whole(frame, 0, 10**6):
        return empty("frame_index") if frame is None else invalid("frame_index", frame)
    fits = clauses.is_rows(points, 1, _MOST_POINTS, _is_point)
    return None if fits else invalid("points", points)


def _is_point(row: Mapping[str, Any]) -> bool:
    return all(clauses.is_number(row.get(axis), 0, 1) for axis in ("x", "y"))


def _named(request: Request) -> tuple[str, list[list[float]]]:
    points = [[float(row["x"]), float(row["y"])] for row in request.given("points")]
    return str(int(request.body["frame_index"])), points


def _added(request: Request) -> Order | Denied:
    found = _marked(request)
    if isinstance(found, Denied):
        return found
    session_id, marks = found
    frame, points = _named(request)
    marks[frame] = [*marks.get(frame, []), *points]
    if len(marks) > _MOST_FRAMES:
        return invalid("frame_index", f"{len(marks)} frames")
    over = len(marks[frame]) > _MOST_POINTS
    return invalid("points", f"{len(marks[frame])} points") if over else _changed(session_id, marks, frame)


def _taken_away(request: Request) -> Order | Denied:
    found = _marked(request)
    if isinstance(found, Denied):
        return found
    session_id, marks = found
    frame, points = _named(request)
    if any(point not in marks.get(frame, []) for point in points):
        return invalid("points", request.given("points"))  # they must be those that were added
    marks[frame] = [point for point in marks[frame] if point not in points]
    return _changed(session_id, {key: value for key, value in marks.items() if value}, frame)


def _cleared(request: Request) -> Order | Denied:
    found = _marked(request)
    return found if isinstance(found, Denied) else _changed(found[0], {}, "")


def _previewed(request: Request) -> Order | Denied:
    session = session_of(request, EDITING)
    if isinstance(session, Denied):
        return session
    status = DONE if session.marked else NOTHING_MARKED
    source = session.source
    return Order(0, source.aspect, source.length_s, facts={"session_id": session.session_id}, status=status)


def _changed(session_id: str, marks: Marks, frame: str) -> Order:
    return Order(0, facts={"session_id": session_id, "marked": marks, "frame": frame})


_NAMED = clauses.needed("session_id")
_CALLS = (
    ("init-selection", (clauses.one_of("video_id", "video_url"),), _opened),
    ("add-selection", (_NAMED, _points), _added),
    ("delete-selection", (_NAMED, _points), _taken_away),
    ("clear-selection", (_NAMED,), _cleared),
    ("preview-selection", (_NAMED,), _previewed),
)

PRODUCTS = tuple(
    Product(
        kind=kind,
        path=f"/v1/videos/multi-elements/{kind}",
        rules=rules,
        order=order,
        pace={"": Pace(0)},
        makes=kind,
        texts=(),
        is_sync=True,
    )
    for kind, rules, order in _CALLS
)
