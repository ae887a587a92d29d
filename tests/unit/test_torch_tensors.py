"""Names and places of tensors in what pickles describe; no torch needed."""

from __future__ import annotations

from typing import Any

import pytest

from git_theta.checkpoints import torch_tensors
from git_theta.checkpoints.pickle_data import UnreadPickle
from git_theta.checkpoints.pickle_values import Global, Made, Members, Pairs, PersistentId, Text2
from git_theta.checkpoints.torch_storages import raw_storages, stored_tensors
from git_theta.checkpoints.torch_tensors import MAX_NAME, contiguous, is_contiguous, named_tensors, unique
from git_theta.errors import DamagedCheckpoint


def storage(key: Any = "0", numel: Any = 4, kind: str = "FloatStorage") -> PersistentId:
    return PersistentId(("storage", Global("torch", kind), key, "cpu", numel))


def tensor(
    of: Any = None,
    offset: Any = 0,
    shape: Any = (4,),
    strides: Any = (1,),
    function: str = "_rebuild_tensor_v2",
) -> Made:
    args = (storage() if of is None else of, offset, shape, strides, False, Pairs())
    return Made("reduce", Global("torch._utils", function), args)


def found(root: Any) -> list[str]:
    return [leaf.name for leaf in named_tensors(root)]


def test_paths() -> None:
    states: list[Any] = [
        Pairs([("state", tensor())]),
        (Pairs([("attribute", tensor())]), Pairs([("slot", tensor())])),
        [tensor()],
    ]
    kwargs = Pairs([("k", tensor())])
    made = Made("new", Global("m", "C"), (tensor(),), kwargs, [tensor()], [("p", tensor())], states)
    root = Pairs(
        [
            ("a", tensor()),
            (Text2(b"old"), [tensor(), (tensor(),)]),
            (3, Members([tensor()])),
            ("made", made),
            ("python 2", Made("reduce", Global("collections", "OrderedDict"), ([["w", tensor()]],))),
        ]
    )
    assert found(root) == [
        *("a", "old.0", "old.1.0", "3.0"),
        *("made.0", "made.k", "made.0#2", "made.p"),
        *("made.state", "made.attribute", "made.slot", "made.state.0"),
        "python 2.w",
    ]


def test_size_objects_count_as_sizes() -> None:
    size = Made("reduce", Global("torch", "Size"), ((4,),))
    assert [leaf.shape for leaf in named_tensors(tensor(shape=size))] == [(4,)]


@pytest.mark.parametrize(
    "odd",
    [
        tensor(offset=-1),
        tensor(offset=True),
        tensor(shape=(-4,)),
        tensor(shape=None),
        tensor(shape=(4, 1)),
        tensor(of="no storage"),
        tensor(of=PersistentId("text")),
        tensor(of=storage(key=7)),
        tensor(of=storage(numel=-1)),
        tensor(of=PersistentId(("module", Global("torch", "FloatStorage"), "0", "cpu", 4))),
        tensor(function="_rebuild_wrapper_subclass", of=3),
        Made("reduce", Global("torch._utils", "_rebuild_tensor_v2"), ()),
        Made("reduce", Global("torch._utils", "_rebuild_parameter"), ()),
        Made("reduce", Global("torch._tensor", "_rebuild_from_type_v2"), (1, 2, 3)),
        Made("reduce", Pairs(), (storage(),)),
        Made("reduce", Global("os", "system"), ("true",)),
        Made("reduce", Global("torch._utils", "_rebuild_tensor_v2"), "no tuple"),
    ],
)
def test_what_is_no_tensor_is_none(odd: Made) -> None:
    # A damaged call still shows the storage it has, under the path of the argument; nothing else.
    assert all(leaf.call is None for leaf in named_tensors([odd]))


def test_a_storage_of_unknown_type_is_bytes() -> None:
    (leaf,) = named_tensors([storage(kind="QInt8Storage")])
    assert leaf.dtype is None
    (stored,) = stored_tensors([leaf], {"0": 7})
    assert (stored.name, stored.dtype.name, stored.shape) == ("0", "U8", (7,))


def test_shared_containers_are_entered_once_and_shared_tensors_named_twice() -> None:
    shared, inner = tensor(), Pairs([("w", tensor())])
    assert found([shared, shared, inner, inner]) == ["0", "1", "2.w"]


def test_work_is_bounded_for_shared_and_nested_containers() -> None:
    laughs: Any = [tensor()]
    for _ in range(200):
        laughs = [laughs] * 10
    assert found(laughs) == [".".join("0" * 201)]
    deep: Any = tensor()
    for _ in range(100_000):
        deep = [deep]
    assert found(deep) == []
    circle: list[Any] = [tensor()]
    circle.append(circle)
    assert found(circle) == ["0"]


def test_long_names_are_not_followed() -> None:
    assert found({"x": 1}) == []
    assert found(Pairs([("k" * MAX_NAME, tensor()), ("k" * (MAX_NAME + 1), tensor())])) == ["k" * MAX_NAME]


def test_a_tensor_in_many_wrappers_has_one_name() -> None:
    value: Any = tensor()
    for depth in range(20):
        value = Made("reduce", Global("torch._utils", "_rebuild_parameter"), (value, True, Pairs()))
        assert len(found([value])) == 1, depth


def test_unique_names() -> None:
    taken = {"a": 1, "a#2": 1}
    assert [unique("a", taken), unique("b", taken), unique("b", taken)] == ["a#3", "b", "b#2"]


@pytest.mark.slow
def test_many_tensors_of_one_name_are_told_apart_in_no_time() -> None:
    names = found(Pairs([("w", tensor())] * 50_000))
    assert names[:3] == ["w", "w#2", "w#3"]
    assert len(set(names)) == 50_000


def test_more_tensors_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_tensors, "MAX_TENSORS", 3)
    assert len(found([tensor()] * 3)) == 3
    with pytest.raises(UnreadPickle, match="more tensors"):
        found([tensor()] * 4)


def test_contiguity() -> None:
    assert contiguous((2, 3, 4)) == (12, 4, 1)
    assert contiguous(()) == ()
    assert contiguous((2, 0, 3)) == (3, 3, 1)
    assert is_contiguous((2, 3), (3, 1))
    assert is_contiguous((1, 3), (77, 1))
    assert is_contiguous((0, 3), (9, 9))
    assert not is_contiguous((2, 3), (1, 2))
    assert not is_contiguous((4,), (0,))


def test_storages_take_the_first_name_that_covers_them() -> None:
    leaves = named_tensors(
        Pairs([("b", tensor()), ("c", tensor(shape=(2, 2), strides=(2, 1))), ("a", tensor(shape=(2,)))])
    )
    (stored,) = stored_tensors(leaves, {"0": 16})
    assert (stored.name, stored.shape) == ("b", (4,))
    assert [view.name for view in stored.views()] == ["a", "c"]


def test_storage_names_do_not_collide_with_tensors() -> None:
    root = Pairs([("storage:w", tensor(of=storage("1"))), ("w", tensor(shape=(2,)))])
    stored = stored_tensors(named_tensors(root), {"0": 16, "1": 16, "2": 5})
    assert [one.name for one in stored] == ["storage:w#2", "storage:w", "storage:data/2"]
    assert [one.name for one in raw_storages({"x": 5})] == ["storage:data/x"]


def test_storages_without_a_whole_number_of_items_are_bytes() -> None:
    untyped = storage(numel=5, kind="UntypedStorage")
    args = (untyped, 0, (2,), (1,), False, Pairs(), Global("torch", "float16"))
    leaf = named_tensors(Made("reduce", Global("torch._utils", "_rebuild_tensor_v3"), args))
    (stored,) = stored_tensors(leaf, {"0": 5})
    assert (stored.dtype.name, stored.shape) == ("U8", (5,))
    assert [(view.name, view.dtype.name) for view in stored.views()] == [("tensor", "F16")]


@pytest.mark.parametrize(
    ("leaf", "size", "why"),
    [
        (tensor(), 12, "should have 16 bytes"),
        (tensor(shape=(5,)), 16, "reaches past"),
        (tensor(offset=1), 16, "reaches past"),
        (tensor(of=storage("9")), 16, "data/9, which is not in the file"),
        (tensor(of=storage(numel=1 << 80)), 16, "should have"),
    ],
)
def test_tensors_that_do_not_fit(leaf: Made, size: int, why: str) -> None:
    with pytest.raises(DamagedCheckpoint, match=why):
        stored_tensors(named_tensors([leaf]), {"0": size})
