"""Comparisons as pictures."""

from __future__ import annotations

import struct
import sys

import pytest
from diff_examples import absent, lora_report, random_model, showcase, version

from git_theta.diffs import picture
from git_theta.diffs.compare import compare_checkpoints
from git_theta.errors import ThetaError


@pytest.fixture(autouse=True)
def _matplotlib() -> None:
    pytest.importorskip("matplotlib")


@pytest.mark.slow
def test_png() -> None:
    found = picture.render(lora_report(), "png")
    assert found[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", found[16:24])
    assert 500 < width < 3000
    assert 500 < height < 3000
    assert picture.render(lora_report(), "png") == found


@pytest.mark.slow
def test_svg() -> None:
    found = picture.render(showcase(), "svg")
    assert picture.render(showcase(), "svg") == found
    text = found.decode()
    for words in ("attn.q.weight", "h.5", "unknown", "removed", "did not change", "HEAD~1 → HEAD"):
        assert words in text
    assert "<dc:date>" not in text


@pytest.mark.slow
@pytest.mark.parametrize("new", [True, False])
def test_files_that_came_or_went(new: bool) -> None:
    model = version(random_model(2))
    sides = (absent(), model) if new else (model, absent())
    assert picture.render(compare_checkpoints(*sides), "svg").startswith(b"<?xml")


@pytest.mark.slow
def test_nothing_changed() -> None:
    model = version(random_model(1))
    assert picture.render(compare_checkpoints(model, model, binned=True), "png")[:4] == b"\x89PNG"
    assert picture.render(compare_checkpoints(absent(), absent()), "png")[:4] == b"\x89PNG"


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    report = lora_report()
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ThetaError, match="matplotlib") as raised:
        picture.render(report, "png")
    assert "git-theta[plot]" in raised.value.remedy
