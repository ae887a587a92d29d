"""A comparison as JSON, for programs. docs/diffing.md documents every field; SCHEMA names the version.

Strict JSON: numbers that are not finite are null, as are those that do not apply or are not known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from git_theta.diffs.agreement import Agreement, Weights
from git_theta.diffs.change import Change, Metric, of_rows, of_totals
from git_theta.diffs.report import Layer, Report, Row, Side, Totals, ordered
from git_theta.diffs.three_way import TaskRow, ThreeWay

SCHEMA = "git-theta diff 1"
"""Grows fields without a new number; a field that goes or changes its meaning brings one."""

THREE_WAY_SCHEMA = "git-theta three-way 1"


def dump(report: Report, *, sort: str = "name", top: int | None = None) -> str:
    """One JSON object, indented, with a last newline."""
    return json.dumps(as_dict(report, sort=sort, top=top), indent=2, allow_nan=False) + "\n"


def as_dict(report: Report, *, sort: str = "name", top: int | None = None) -> dict[str, Any]:
    """The object that `dump` writes."""
    return {
        "schema": SCHEMA,
        "path": report.path,
        "old_path": report.old_path or None,
        "old": _side(report.old),
        "new": _side(report.new),
        "identical": report.identical,
        "only": report.only or None,
        "notes": list(report.notes),
        "kinds": [{"code": kind.code, "text": kind.text} for kind in report.kinds],
        "summary": {**_totals(report.totals), "unchanged": len(report.unchanged), "stored": report.stored},
        "layers": [_layer(layer) for layer in report.layers],
        "tensors": [_row(row) for row in ordered(report.rows, sort)[:top]],
    }


def _side(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "label": side.label,
        "format": side.format,
        "size": side.size,
        "root": side.root,
        "tensors": side.tensors,
        "parameters": side.parameters,
    }


def _totals(totals: Totals) -> dict[str, Any]:
    change = totals.change
    return {
        "tensors": totals.tensors,
        "parameters": totals.parameters,
        "parameters_compared": change.elements if change else 0,
        "parameters_changed": change.changed if change else 0,
        **_numbers(change, of_totals()),
        "nan_appeared": change.nans if change else 0,
        "inf_appeared": change.infinities if change else 0,
        "unknown": totals.unknown,
    }


def _layer(layer: Layer) -> dict[str, Any]:
    return {"name": layer.name, "tensors_in_layer": layer.all, **_totals(layer.totals)}


def _row(row: Row) -> dict[str, Any]:
    change = row.change
    return {
        "name": row.name,
        "status": row.status,
        "dtype": row.dtype,
        "shape": None if row.shape is None else list(row.shape),
        **_numbers(change, of_rows()),
        "nan_appeared": change.nans if change else None,
        "inf_appeared": change.infinities if change else None,
        "old_norm": _finite(change.old_norm if change else None),
        "new_norm": _finite(change.new_norm if change else None),
        "old_name": row.old_name,
        "old_dtype": row.old_dtype,
        "old_shape": None if row.old_shape is None else list(row.old_shape),
        "layer": row.layer,
        "tied": list(row.tied),
        "view_of": row.view_of or None,
        "compared": row.compared or None,
        "unknown": row.unknown or None,
        "update": row.update or None,
        "stored": row.stored,
    }


def _numbers(change: Change | None, metrics: Iterable[Metric]) -> Mapping[str, float | None]:
    return {metric.field: _finite(metric.value(change)) for metric in metrics}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def dump_three_way(report: ThreeWay) -> str:
    """One JSON object, indented, with a last newline."""
    base, ours, theirs = report.labels
    content = {
        "schema": THREE_WAY_SCHEMA,
        "path": report.path,
        "base": base,
        "ours": ours,
        "theirs": theirs,
        "verdict": report.verdict,
        "summary": {
            **_agreement(report.agreement),
            **_weights(report.weights),
            "largest_overlap": report.overlap,
            "unchanged": report.unchanged,
        },
        "layers": [{"name": layer.name, **_agreement(layer.agreement)} for layer in report.layers],
        "tensors": [_task_row(row) for row in report.rows],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _task_row(row: TaskRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "names": dict(zip(("base", "ours", "theirs"), row.names, strict=True)),
        "dtype": row.dtype,
        "shape": list(row.shape),
        "ours": row.ours,
        "theirs": row.theirs,
        "same": row.same,
        "layer": row.layer,
        "unknown": row.unknown or None,
        **_agreement(row.agreement),
        **_weights(row.weights),
    }


def _weights(found: Weights | None) -> Mapping[str, float | None]:
    return {
        "weights_cosine": _finite(found.cosine if found else None),
        "relative_distance": _finite(found.relative_distance if found else None),
    }


def _agreement(found: Agreement | None) -> Mapping[str, float | None]:
    return {
        "parameters": found.elements if found else None,
        "ours_norm": _finite(found.ours_norm if found else None),
        "ours_relative_norm": _finite(found.ours_relative if found else None),
        "ours_changed": found.ours_changed if found else None,
        "theirs_norm": _finite(found.theirs_norm if found else None),
        "theirs_relative_norm": _finite(found.theirs_relative if found else None),
        "theirs_changed": found.theirs_changed if found else None,
        "both_changed": found.both_changed if found else None,
        "cosine": _finite(found.cosine if found else None),
        "conflict_fraction": _finite(found.conflict_fraction if found else None),
        "overlap_fraction": _finite(found.overlap_fraction if found else None),
    }
