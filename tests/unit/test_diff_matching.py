"""Which tensor is which."""

from __future__ import annotations

import numpy as np
import pytest
from diff_examples import Content, random_model, tensor, version

from git_theta.diffs.matching import Matching, match
from git_theta.dtypes import dtype
from git_theta.manifest import View

ONE, TWO, THREE = (tensor("F32", np.full((2, 3), float(number))) for number in (1, 2, 3))


def compare(old: dict[str, Content] | None, new: dict[str, Content] | None, **options: str) -> Matching:
    sides = (version(side).manifest if side is not None else None for side in (old, new))
    return match(*sides, **options)


def statuses(found: Matching) -> dict[str, str]:
    return {one.name: one.status for one in found.matches}


def test_every_status() -> None:
    old = {
        "same": ONE,
        "modified": ONE,
        "gone": tensor("F32", np.ones(5)),
        "before": TWO,
        "reshaped": THREE,
        "cast": ONE,
    }
    new = {
        "same": ONE,
        "modified": TWO,
        "come": tensor("F32", np.ones(7)),
        "after": TWO,
        "reshaped": ("F32", (6,), THREE[2]),
        "cast": tensor("BF16", np.ones((2, 3))),
    }
    found = compare(old, new)
    assert statuses(found) == {
        "after": "renamed",
        "cast": "cast",
        "come": "added",
        "gone": "removed",
        "modified": "modified",
        "reshaped": "reshaped",
    }
    assert found.unchanged == ("same",)
    renamed = found.matches[0]
    assert renamed.old is not None
    assert renamed.old.name == "before"
    assert {one.name for one in found.matches if one.same_data} == {"after", "reshaped"}


def test_the_same_model_has_no_matches() -> None:
    model = random_model()
    found = compare(model, dict(reversed(model.items())))
    assert found.matches == ()
    assert len(found.unchanged) == len(model)


def test_a_file_that_came_or_went() -> None:
    model = {"a": ONE, "b": TWO}
    assert statuses(compare(None, model)) == {"a": "added", "b": "added"}
    assert statuses(compare(model, None)) == {"a": "removed", "b": "removed"}
    assert statuses(compare(None, None)) == {}


def test_a_reinterpretation_of_the_same_bytes_is_a_cast() -> None:
    found = compare({"a": ("F32", (2,), bytes(8))}, {"a": ("I32", (2,), bytes(8))})
    assert statuses(found) == {"a": "cast"}
    assert not found.matches[0].same_data


def test_only_some() -> None:
    old = {"h.0.q": ONE, "h.0.k": ONE, "wte": TWO, "old.q": tensor("F32", np.ones(9))}
    new = {"h.0.q": TWO, "h.0.k": ONE, "wte": ONE, "new": tensor("F32", np.ones(9))}
    found = compare(old, new, only="h.*")
    assert (statuses(found), found.unchanged) == ({"h.0.q": "modified"}, ("h.0.k",))
    assert statuses(compare(old, new, only="old.*")) == {"new": "renamed"}
    assert statuses(compare(old, new, only="H.*")) == {}


def view(name: str, of: str, shape: tuple[int, ...] = (2, 3), offset: int = 0) -> View:
    strides = (3, 1)[-len(shape) :]
    return View(name, of, dtype("F32"), shape, offset, strides)


def with_views(content: dict[str, Content], *views: View, **options: str) -> object:
    return version(content, views=views, **options).manifest


def test_tied_tensors_are_told_with_the_tensor_they_share() -> None:
    old = with_views({"wte": ONE}, view("head", "wte"))
    new = with_views({"wte": TWO}, view("head", "wte"))
    found = match(old, new)
    assert statuses(found) == {"wte": "modified"}
    assert found.shares == {"wte": ("head",)}


def test_which_of_two_tied_tensors_is_stored_does_not_matter() -> None:
    old = with_views({"wte": ONE}, view("head", "wte"))
    new = with_views({"head": ONE}, view("wte", "head"))
    assert statuses(match(old, new)) == {}


def test_untied_tensors() -> None:
    old = with_views({"wte": ONE}, view("head", "wte"))
    new = with_views({"wte": ONE, "head": TWO})
    assert statuses(match(old, new)) == {"head": "modified"}
    assert statuses(match(new, old)) == {"head": "modified"}


def test_a_tie_that_came_and_one_that_went() -> None:
    old, new = with_views({"wte": ONE}), with_views({"wte": ONE}, view("head", "wte"))
    assert statuses(match(old, new)) == {"head": "added"}
    assert statuses(match(new, old)) == {"head": "removed"}


def test_views_of_storage_that_has_no_tensor_stand_for_themselves() -> None:
    halves = [view("a", "storage:a", (3,), 0), view("b", "storage:a", (3,), 3)]
    old = with_views({"storage:a": ONE}, *halves)
    new = with_views({"storage:a": TWO}, *halves)
    assert statuses(match(old, new)) == {"a": "modified", "b": "modified"}


def test_a_view_of_another_part() -> None:
    old = with_views({"w": ONE}, view("part", "w", (3,), 0))
    new = with_views({"w": ONE}, view("part", "w", (3,), 3))
    assert statuses(match(old, new)) == {"part": "modified"}


@pytest.mark.parametrize("form", ["safetensors", "pytorch"])
def test_another_format_makes_no_difference(form: str) -> None:
    model = random_model()
    assert match(version(model).manifest, version(model, form=form).manifest).matches == ()
