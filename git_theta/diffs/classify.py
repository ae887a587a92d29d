"""What kind of change a comparison looks like: a LoRA, a full fine-tune, a new vocabulary, a cast, ..."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from git_theta.checkpoints.registry import OPAQUE
from git_theta.diffs import layers, renames, text
from git_theta.diffs.report import Kind, Report, Row
from git_theta.dtypes import dtype
from git_theta.terminal.units import counted, human_size, listed, percent

SPARSE = 0.05
"""Below this share of changed entries, an edit is sparse."""

_MOST = 0.8  # what is true of this share is true of "the" change
_HEAD = re.compile(r"(^|[._/])(lm_head|head|classifier|score|cls|qa_outputs|fc|logits)([._/]|$)")
_VOCABULARY = re.compile(r"embed|wte|word|tok|vocab|shared|lm_head|output|decoder\.(weight|bias)$", re.I)
_LARGE_SIDE = 64  # matrices with a shorter side have no rank that could be called low


def kinds(report: Report) -> Iterator[Kind]:
    """The kinds of change that a comparison looks like, most telling first: guesses from names and values."""
    old, new = report.old, report.new
    if old is None or new is None:
        side, word = (new, "new") if old is None else (old, "deleted")
        if side is not None:
            yield Kind(word, f"{word} checkpoint, {_contents(side.format, side.tensors, side.parameters)}")
        return
    if report.identical:
        yield Kind("identical", "identical files")
        return
    if OPAQUE in (old.format, new.format):
        sizes = f"{human_size(old.size)} -> {human_size(new.size)}"
        yield Kind("opaque", f"bytes that git-theta does not see tensors in, {sizes}")
    if old.format != new.format:
        yield Kind("format", f"format {old.format} -> {new.format}")
    if not report.rows:
        if old.format == new.format != OPAQUE and not report.only:
            yield Kind("metadata", "the same tensors; the file's metadata or their order changed")
        return
    yield from _structure(report)
    yield from _values(report)


def _contents(form: str, tensors: int, parameters: int) -> str:
    return (
        "opaque bytes"
        if form == OPAQUE
        else f"{counted(tensors, 'tensor')}, {text.count(parameters)} parameters"
    )


def _structure(report: Report) -> Iterator[Kind]:
    """What happened to names, shapes and dtypes."""
    rows = report.rows
    renamed = [row for row in rows if row.status == "renamed"]
    if renamed:
        how = renames.in_words([(row.old_name or "", row.name) for row in renamed])
        yield Kind("rename", f"{_tensors(renamed)} renamed{how}")
    yield from _casts(rows)
    resized = [row for row in rows if _resized(row)]
    vocabulary = _vocabulary(resized)
    if vocabulary:
        was, now = vocabulary[0].old_shape or (), vocabulary[0].shape or ()
        names = listed([row.name for row in vocabulary])
        yield Kind("vocabulary", f"vocabulary {_size_change(was, now)} ({names})")
    come_or_gone = [row for row in rows if row.status in ("added", "removed")]
    others = [row for row in resized if row not in vocabulary] + come_or_gone
    head = [row for row in others if _HEAD.search(row.name)]
    if head and len(head) <= max(8, len(report.unchanged) + len(rows)) // 8:
        yield Kind("head", f"head replaced ({listed([row.name for row in head])})")
    else:
        head = []
    rest = [row for row in others if row not in head]
    for status, word in (("added", "added"), ("removed", "removed")):
        some = [row for row in rest if row.status == status]
        if some:
            yield Kind(word, f"{_tensors(some)} {word}{_in_layers(some)}")
    reshaped = [row for row in rest if row.status not in ("added", "removed")]
    if reshaped:
        yield Kind("resized", f"{_tensors(reshaped)} resized")
    same_size = [row for row in rows if row.status == "reshaped" and not _resized(row)]
    if same_size:
        yield Kind("reshaped", f"{_tensors(same_size)} reshaped")


def _casts(rows: Sequence[Row]) -> Iterator[Kind]:
    cast = [row for row in rows if row.old_dtype and row.dtype and row.old_dtype != row.dtype]
    for (old, new), number in Counter((row.old_dtype, row.dtype) for row in cast).most_common():
        some = [row for row in cast if (row.old_dtype, row.dtype) == (old, new)]
        known = [row.change for row in some if row.change is not None]
        # Half a unit in the last place, of either dtype, is all that rounding does to normal numbers.
        bound = max(2.0 ** -(dtype(name).mantissa + 1) for name in (old or "", new or ""))
        rounded = known and all((change.relative_norm or 0.0) <= bound for change in known)
        values = "" if not known else ", values rounded" if rounded else ", values changed too"
        if known and not any(change.changed for change in known):
            values = ", values the same"
        yield Kind("cast", f"cast {old} -> {new} ({counted(number, 'tensor')}{values})")


def _values(report: Report) -> Iterator[Kind]:
    """What happened to the values of tensors that are the same otherwise."""
    rows = [
        row
        for row in report.rows
        if row.old_dtype == row.dtype and row.shape == row.old_shape and not row.view_of and _moved(row)
    ]
    if not rows:
        return
    matrices = [row for row in rows if _is_matrix(row)]
    low = [row for row in matrices if _is_low_rank(row)]
    compared = [row.change for row in rows if row.change is not None]
    changed = sum(change.changed for change in compared)
    elements = sum(change.elements for change in compared)
    moved = sum(row.elements for row in rows)
    everything = report.new.parameters if report.new and not report.only else 0
    if matrices and len(low) >= _MOST * len(matrices):
        parts = listed(sorted({row.component for row in low}))
        yield Kind("low-rank", f"LoRA{_ranks(low)} on {counted(len(low), 'matrix', 'matrices')} ({parts})")
    elif compared and changed < SPARSE * elements:
        share = percent(changed, elements)
        yield Kind("sparse", f"sparse edit, {share} of the entries of {_tensors(rows)}")
    elif moved >= _MOST * everything > 0:
        what = "full fine-tune" if compared else "changes all over the model"
        yield Kind("full", f"{what}, {_tensors(rows)}")
    elif not matrices and all(row.name.endswith("bias") for row in rows):
        yield Kind("biases", f"only biases, {_tensors(rows)}")
    else:
        yield Kind("partial", f"partial fine-tune, {_tensors(rows)}{_in_layers(rows)}")


def _moved(row: Row) -> bool:
    if row.change is not None:
        return row.change.changed > 0
    return row.status == "modified"


def _is_matrix(row: Row) -> bool:
    shape = row.shape or ()
    if len(shape) < 2:
        return False
    columns = row.elements // shape[0] if shape[0] else 0
    return min(shape[0], columns) >= _LARGE_SIDE


def _is_low_rank(row: Row) -> bool:
    """By its values; where they were not compared, by how it is stored."""
    if row.change is not None:
        return row.change.rank is not None
    return row.update == "low-rank"


def _ranks(rows: Iterable[Row]) -> str:
    ranks = sorted({row.change.rank for row in rows if row.change and row.change.rank})
    if not ranks:
        return ""
    return f", rank {ranks[0]}" if len(ranks) == 1 else f", ranks {ranks[0]} to {ranks[-1]}"


def _resized(row: Row) -> bool:
    if row.shape is None or row.old_shape is None or row.shape == row.old_shape:
        return False
    old = row.old_shape
    elements = 1
    for length in old:
        elements *= length
    return elements != row.elements


def _vocabulary(resized: Sequence[Row]) -> list[Row]:
    """Tensors whose names and shapes say that they have a row for each token."""
    return [
        row
        for row in resized
        if _VOCABULARY.search(row.name) and row.shape and row.old_shape and _only_one_side(row)
    ]


def _only_one_side(row: Row) -> bool:
    old, new = row.old_shape or (), row.shape or ()
    return len(old) == len(new) and sum(a != b for a, b in zip(old, new, strict=True)) == 1


def _size_change(old: tuple[int, ...], new: tuple[int, ...]) -> str:
    return next(f"{a} -> {b}" for a, b in zip(old, new, strict=True) if a != b)


def _tensors(rows: Sequence[Row]) -> str:
    return counted(len(rows), "tensor")


def _in_layers(rows: Sequence[Row]) -> str:
    """In which layers they are, where that is few words."""
    names = {row.layer for row in rows}
    if "" in names:
        return ""
    if len(names) > 4:
        return f" in {counted(len(names), 'layer')}"
    return f" in {', '.join(sorted(names, key=layers.natural))}"
