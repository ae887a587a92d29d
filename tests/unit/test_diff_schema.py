"""Comparisons as JSON: what docs/diffing.md says, and strict."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diff_examples import absent, golden, lora_report, showcase, tensor, version

from git_theta.diffs import schema
from git_theta.diffs.compare import compare_checkpoints
from git_theta.diffs.three_way import compare_three

DOCS = Path(__file__).parents[2] / "docs" / "diffing.md"


def parsed(text: str) -> Any:
    """Strict JSON only."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert text.endswith("}\n")
    return json.loads(text, parse_constant=refuse)


def close(found: Any, expected: Any, where: str = "") -> None:
    """Equal, but for what another BLAS makes of the last digits."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key in expected:
            close(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, (a, b) in enumerate(zip(found, expected, strict=True)):
            close(a, b, f"{where}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6), where
    else:
        assert found == expected, where


def check_golden(name: str, found: str) -> None:
    close(parsed(found), json.loads(golden(name, found)))


def test_golden() -> None:
    check_golden("showcase.json", schema.dump(showcase()))


def test_rows_have_what_the_issue_asks_for() -> None:
    rows = parsed(schema.dump(lora_report()))["tensors"]
    assert len(rows) == 24
    for row in rows:
        wanted = ["name", "status", "dtype", "shape", "norm", "relative_norm", "rms", "max_abs", "cosine"]
        assert list(row)[: len(wanted) + 1] == [*wanted, "changed_fraction"]
        assert (row["status"], row["dtype"], row["shape"], row["rank"]) == ("modified", "BF16", [128, 128], 4)
        assert row["relative_norm"] == pytest.approx(row["norm"] / row["old_norm"])
        assert row["rms"] == pytest.approx(row["norm"] / 128)


def test_order_and_number_of_rows() -> None:
    report = lora_report()
    names = [row["name"] for row in schema.as_dict(report)["tensors"]]
    assert names[:3] == ["h.0.attn.q.weight", "h.0.attn.v.weight", "h.1.attn.q.weight"]
    norms = [row["norm"] for row in schema.as_dict(report, sort="norm")["tensors"]]
    assert norms == sorted(norms, reverse=True)
    assert len(schema.as_dict(report, top=5)["tensors"]) == 5
    assert schema.as_dict(report, top=5)["summary"]["tensors"] == 24


def test_numbers_that_json_does_not_have_are_null() -> None:
    old = {"a": tensor("F64", np.zeros(3))}
    new = {"a": tensor("F64", np.full(3, 1.7e308))}
    (row,) = parsed(schema.dump(compare_checkpoints(version(old), version(new))))["tensors"]
    assert (row["norm"], row["relative_norm"], row["max_abs"]) == (None, None, 1.7e308)


def test_a_file_that_is_not_there() -> None:
    found = parsed(schema.dump(compare_checkpoints(absent(), version({"a": tensor("F32", np.zeros(3))}))))
    assert found["old"] is None
    assert found["tensors"][0]["status"] == "added"
    assert found["tensors"][0]["old_shape"] is None


def test_three_way() -> None:
    model = {name: tensor("F32", np.full(4, value)) for name, value in (("a", 1.0), ("b", 2.0))}
    ours, theirs = ({**model, "a": tensor("F32", np.array([1, 1, 2, last]))} for last in (0.0, 3.0))
    found = parsed(schema.dump_three_way(compare_three(version(model), version(ours), version(theirs))))
    assert found["schema"] == schema.THREE_WAY_SCHEMA
    (row,) = found["tensors"]
    assert (row["name"], row["both_changed"], row["conflict_fraction"]) == ("a", 2, 0.5)
    assert row["cosine"] == pytest.approx((1 - 2) / (2**0.5 * 5**0.5))


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys(inner)}
    return {key for inner in value for key in keys(inner)} if isinstance(value, list) else set()


def test_every_field_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", DOCS.read_text(encoding="utf-8")))
    model = version({"a": tensor("F32", np.ones(4))})
    other = version({"a": tensor("F32", np.zeros(4))})
    three = parsed(schema.dump_three_way(compare_three(model, other, other)))
    assert keys(parsed(schema.dump(showcase()))) | keys(three) <= documented
