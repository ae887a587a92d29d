"""What every layout must satisfy, whichever format it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from git_theta.checkpoints.layout import Layout, Span, View
from git_theta.errors import DamagedCheckpoint
from git_theta.untrusted import LIMIT, MOST_DIMENSIONS


def checked(layout: Layout, size: int | None) -> Layout:
    """Check everything about a layout that the rest of git-theta relies on, and return it.

    Every layout goes through here before it is used, so that a format plug-in with a bug, or one that a
    hostile file got the better of, does no harm. Names may hold any character that UTF-8 can write;
    showing them is the business of whoever shows them.

    Args:
        size: bytes of the whole file, or None while a stream's end is not known.

    Raises:
        DamagedCheckpoint: names the tensor and says what is wrong with it.
    """
    _check_names([*(span.name for span in layout.spans), *(view.name for view in layout.views)])
    end = 0
    for span in layout.spans:
        _check_shape(span)
        if span.offset < end:
            raise DamagedCheckpoint(
                f"tensor {span.name!r} starts at byte {span.offset}, inside what lies before it"
            )
        end = span.offset + span.nbytes
        if size is not None and end > size:
            raise DamagedCheckpoint(
                f"tensor {span.name!r} ends at byte {end}, but the file has only {size} bytes"
            )
    if end >= LIMIT:
        raise DamagedCheckpoint(
            f"tensor {layout.spans[-1].name!r} ends at byte {end}, beyond the last, {LIMIT}"
        )
    spans = {span.name: span for span in layout.spans}
    for view in layout.views:
        _check_view(view, spans.get(view.of))
    names = [view.name for view in layout.views]
    if names != sorted(names):
        raise DamagedCheckpoint(f"the views of the {layout.format} layout are not sorted by name")
    return layout


def check_dimensions(name: str, shape: Sequence[int]) -> None:
    """Refuse a shape of too many dimensions, as a damaged file can have, before it is computed with."""
    if len(shape) > MOST_DIMENSIONS:
        raise DamagedCheckpoint(
            f"tensor {name!r} has {len(shape)} dimensions, and {MOST_DIMENSIONS} at most are allowed"
        )


def elements(shape: Iterable[int]) -> int:
    """How many elements a tensor of this shape has."""
    count = 1
    for length in shape:
        count *= length
    return count


def reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first element of a strided tensor to just after its last; 0 if it is empty."""
    if 0 in shape:
        return 0
    return 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))


def _check_names(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DamagedCheckpoint(f"tensor {name!r} stands twice in the file")
        seen.add(name)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DamagedCheckpoint(f"the tensor name {name!r} is not valid Unicode") from None


def _check_shape(tensor: Span | View) -> None:
    # The product without the zeros must be sane as well: a reader that multiplies in 64 bits
    # overflows before it meets the zero.
    shape = tensor.shape
    check_dimensions(tensor.name, shape)
    if min(shape, default=0) < 0 or elements(filter(None, shape)) >= LIMIT:
        raise DamagedCheckpoint(
            f"tensor {tensor.name!r} has the shape {list(shape)}; lengths are not negative, "
            f"and a tensor has less than {LIMIT} elements"
        )
    if tensor.offset < 0:
        raise DamagedCheckpoint(f"tensor {tensor.name!r} has a negative offset")


def _check_view(view: View, span: Span | None) -> None:
    if span is None:
        raise DamagedCheckpoint(f"tensor {view.name!r} is a view of {view.of!r}, which is not in the file")
    _check_shape(view)
    if len(view.strides) != len(view.shape) or min(view.strides, default=0) < 0:
        raise DamagedCheckpoint(f"tensor {view.name!r} has strides that do not fit its shape")
    if max(view.strides, default=0) >= LIMIT:
        raise DamagedCheckpoint(f"tensor {view.name!r} has strides of {LIMIT} elements or more")
    last = view.offset + reach(view.shape, view.strides)
    if last * view.dtype.bits > span.nbytes * 8:
        raise DamagedCheckpoint(f"tensor {view.name!r} reaches past the end of its storage {span.name!r}")
