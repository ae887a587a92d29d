"""The JSON plug-in: the shared checks for formats, and what is special about text."""

from __future__ import annotations

import io
import json

import pytest
from git_theta_json import Json

from git_theta.checkpoints import registry
from git_theta.dtypes import BYTES, dtype
from git_theta.errors import DamagedCheckpoint, ThetaError
from git_theta.tensors import ArrayTensor
from git_theta.testing import FormatContract
from git_theta.testing.formats import join, read_layout, split, tensors

CHECKPOINT = {
    "layer": {"weight": [[0.5, 1e-3], [-2, float("nan")]], "bias": [0, float("-inf")]},
    "epoch": 3,
    "ünï.cödé\n": [1],
    "history": [{"loss": [0.25, 0.125]}, "text", [7], [], [[]], None],
    "ragged": [[1, 2], [3]],
    "words": ["a", "b"],
}


class TestJson(FormatContract):
    def format(self) -> Json:
        return Json()

    def files(self) -> dict[str, bytes]:
        return {
            "compact": json.dumps(CHECKPOINT, separators=(",", ":")).encode(),
            "indented": json.dumps(CHECKPOINT, indent=2, ensure_ascii=False).encode(),
            "no tensors": b'{"a": {}, "b": "x"}',
            "escapes in names": b'{"a\\"b\\\\": [1], "\\u00fc": [2]}',
            "places in lists": b'{"a": [[1], "x", [2], {}, [3]], "b": [[1], null]}',
        }


def test_git_theta_finds_it() -> None:
    assert isinstance(registry.by_name("json"), Json)
    assert isinstance(registry.detect(b'{"layer": {"weight": [[1.0]]}}', "model.json"), Json)


def test_tensors_are_the_outermost_lists_of_numbers() -> None:
    data = json.dumps(CHECKPOINT).encode()
    spans, _ = split(read_layout(Json(), data), data)
    assert {name: text.decode() for name, text in spans.items()} == {
        "layer.weight": "[[0.5, 0.001], [-2, NaN]]",
        "layer.bias": "[0, -Infinity]",
        "ünï.cödé\n": "[1]",
        "history.0.loss": "[0.25, 0.125]",
        "history.2": "[7]",
        "ragged": "[[1, 2], [3]]",
    }


@pytest.mark.parametrize("head", [b"[1]", b'{"epoch": 3}', b"{", b"{}", b"text", b'{"git-theta":1,"format":'])
def test_other_json_is_not_recognised(head: bytes) -> None:
    assert not Json().recognises(head)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": [1,]}',
        b'{"a": [1, , 2]}',
        b'{"a": [1 2]}',
        b'{"a": [1],}',
        b'{"a": [1]} x',
        b'{"a": [1], "b" [1]}',
        b'{"a": [01]}',
        b'{"a": ["x", ]}',
        b'{"a": [1], 7: 2}',
        b'{"a": {"b": }}',
        b'{"\xff": [1]}',
        b'{"a": [1], "a": [2]}',
        b'{"a": ' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}",
        b'{"a": ' + b'[{"b": ' * 200 + b"1" + b"}]" * 200 + b"}",
        b'{"\\ud800": [1]}',
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    assert Json().recognises(data[:1024])
    with pytest.raises(DamagedCheckpoint):
        read_layout(Json(), data)


def written(named: dict[str, bytes], like: bytes | None = None) -> bytes:
    target = io.BytesIO()
    Json().write(target, [(n, ArrayTensor(BYTES, (len(t),), t)) for n, t in named.items()], like)
    return target.getvalue()


def test_lists_of_other_lengths_are_written_into_the_same_places() -> None:
    data = b'{ "a": {"w": [1, 2]},  "epoch": 3, "b": [4] }\n'
    spans, skeleton = split(read_layout(Json(), data), data)
    assert written({"b": b"[5, 6, 7]", "a.w": spans["a.w"]}, skeleton) == (
        b'{ "a": {"w": [1, 2]},  "epoch": 3, "b": [5, 6, 7] }\n'
    )
    with pytest.raises(ThetaError, match="added"):
        written({"b": b"[5]"}, skeleton)


def test_a_file_of_its_own() -> None:
    assert json.loads(written({"a.w": b"[1, 2]", "b": b"[[3]]"})) == {"a.w": [1, 2], "b": [[3]]}


@pytest.mark.parametrize("text", [b"", b"12", b"[1, 2", b"[1], 2", b'["x"]', b"[]", b"\xff", b"[1, 2]]"])
def test_values_that_are_no_lists_of_numbers_are_refused(text: bytes) -> None:
    with pytest.raises(ThetaError, match="list of numbers"):
        written({"a": text})


def test_an_average_of_texts_is_not_taken_for_numbers() -> None:
    data = b'{"a": [10, 20]}'
    layout = read_layout(Json(), data)
    spans, skeleton = split(layout, data)
    mean = {"a": bytes(byte ^ 1 for byte in spans["a"])}
    with pytest.raises(ThetaError, match="all that a JSON checkpoint holds"):
        Json().patch(skeleton, layout, tensors(layout, mean))
    other = {"a": b"[30, 40]"}
    assert join(layout, other, Json().patch(skeleton, layout, tensors(layout, other))) == b'{"a": [30, 40]}'


def test_tensors_of_numbers_are_refused() -> None:
    with pytest.raises(ThetaError, match="all that a JSON checkpoint holds"):
        Json().write(io.BytesIO(), [("w", ArrayTensor(dtype("F32"), (1,), bytes(4)))], None)
