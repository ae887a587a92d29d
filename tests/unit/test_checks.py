"""The checks that every layout goes through."""

from __future__ import annotations

import pytest

from git_theta.checkpoints.checks import checked, elements, reach
from git_theta.checkpoints.layout import Layout, Span, View
from git_theta.dtypes import dtype
from git_theta.errors import DamagedCheckpoint
from git_theta.manifest import Manifest, TensorLine, parse, with_root, write

F32 = dtype("F32")
A = Span("a", F32, (2,), 8)


def view(**changes: object) -> View:
    good = {"name": "v", "of": "a", "dtype": F32, "shape": (2,), "offset": 0, "strides": (1,)}
    return View(**{**good, **changes})  # type: ignore[arg-type]


def test_accepts_what_is_right() -> None:
    empty = Span("empty", F32, (0, 3), 16)
    layout = Layout("f", (A, empty, Span("b", F32, (), 16)), (view(), view(name="w", shape=(), strides=())))
    assert checked(layout, 20) is layout
    assert checked(layout, None) is layout
    assert checked(Layout("f", ()), 0).spans == ()


BAD = {
    "past the end": (Layout("f", (A,)), 15, "'a' ends at byte 16"),
    "overlap": (Layout("f", (A, Span("b", F32, (1,), 12))), None, "'b' starts at byte 12"),
    "empty inside": (Layout("f", (A, Span("b", F32, (0,), 12))), None, "'b' starts"),
    "not sorted": (Layout("f", (A, Span("b", F32, (1,), 0))), None, "'b' starts"),
    "twice": (Layout("f", (A, Span("a", F32, (1,), 16))), None, "'a' stands twice"),
    "view of the same name": (Layout("f", (A,), (view(name="a"),)), None, "'a' stands twice"),
    "half a surrogate": (Layout("f", (Span("\ud800", F32, (), 0),)), None, "Unicode"),
    "negative shape": (Layout("f", (Span("a", F32, (-1, -1), 0),)), None, "not negative"),
    "overflow behind a zero": (
        Layout("f", (Span("a", F32, (1 << 40, 1 << 40, 0), 0),)),
        None,
        "less than",
    ),
    "dimensions": (Layout("f", (Span("a", F32, (1,) * 65, 0),)), None, "65 dimensions, and 64 at most"),
    "negative offset": (Layout("f", (Span("a", F32, (1,), -4),)), None, "negative"),
    "an end too far": (Layout("f", (Span("a", F32, (1,), 1 << 62),)), None, "beyond"),
    "view of nothing": (Layout("f", (A,), (view(of="b"),)), None, "'v' is a view of 'b'"),
    "view too long": (Layout("f", (A,), (view(shape=(3,)),)), None, "'v' reaches past"),
    "view too far": (Layout("f", (A,), (view(offset=1),)), None, "'v' reaches past"),
    "view with strides too far": (Layout("f", (A,), (view(strides=(2,)),)), None, "'v' reaches past"),
    "view of wider items": (Layout("f", (A,), (view(dtype=dtype("F64")),)), None, "'v' reaches past"),
    "empty view outside": (Layout("f", (A,), (view(shape=(0,), offset=3),)), None, "'v' reaches past"),
    "view with negative strides": (Layout("f", (A,), (view(strides=(-1,)),)), None, "strides"),
    "view with too few strides": (Layout("f", (A,), (view(strides=()),)), None, "strides"),
    "view with long strides": (
        Layout("f", (A,), (view(shape=(1,), strides=(1 << 62,)),)),
        None,
        "strides",
    ),
    "views not sorted": (Layout("f", (A,), (view(name="w"), view())), None, "not sorted"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(case: str) -> None:
    layout, size, why = BAD[case]
    with pytest.raises(DamagedCheckpoint, match=why):
        checked(layout, size)


def test_names_with_any_character_fit_in_a_manifest() -> None:
    names = sorted(["", "a\nb", "a\0b", "\r", "\u2028", "\x7f", '"', "\\", "層", "\U0010ffff"])
    spans = tuple(Span(name, F32, (), 4 * at) for at, name in enumerate(names))
    checked(Layout("f", spans), None)
    lines = tuple(TensorLine(span.name, span.dtype, span.shape, "0" * 64) for span in spans)
    manifest = with_root(Manifest("f", 40, "", lines, (), "0" * 64, 0))
    assert parse(write(manifest)) == manifest


def test_counting() -> None:
    assert elements(()) == 1
    assert elements((2, 3)) == 6
    assert reach((), ()) == 1
    assert reach((2, 3), (10, 1)) == 13
    assert reach((2, 0), (10, 1)) == 0
