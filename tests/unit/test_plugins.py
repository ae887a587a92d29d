"""The registry of plug-ins, and the update kinds in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from git_theta.errors import ThetaError
from git_theta.plugins import Registry, _others_mention
from git_theta.updates import registry
from git_theta.updates.interface import Update

PLUGIN = """
class Kind:
    name = {name!r}
    def propose(self, target, bases): return []
    def predictor(self, dtype, shape, bases, parameters): raise NotImplementedError
"""


def install(folder: Path, package: str, points: dict[str, str], group: str = registry.GROUP) -> None:
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")


@pytest.fixture
def kinds() -> Registry[Update]:
    """A registry that has found nothing yet."""
    return Registry(registry.GROUP, "update kind", registry._obeys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_built_in_kinds() -> None:
    assert set(registry.names()) >= {"dense", "delta", "low-rank", "scale", "rows", "cast", "combine"}
    for name in registry.names():
        assert registry.by_name(name).name == name


def test_the_names_of_the_original_are_known() -> None:
    assert registry.by_name("sparse") is registry.by_name("delta")
    assert registry.by_name("ia3") is registry.by_name("scale")


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ThetaError, match=r"no update kind 'bogus'; known: .*cast, combine, delta, dense"):
        registry.by_name("bogus")


def test_a_misspelt_kind_is_guessed() -> None:
    with pytest.raises(ThetaError) as caught:
        registry.by_name("detla")
    assert caught.value.remedy == "did you mean delta?"


def test_packages_that_bring_nothing_are_not_asked(folder: Path, kinds: Registry[Update]) -> None:
    install(folder, "other", {"x": "other:X"}, "another.group")
    assert not _others_mention(registry.GROUP)
    install(folder, "broken", {"y": "broken:Y"})
    assert _others_mention(registry.GROUP)
    assert kinds.names()[-1] == "y"


def test_archives_on_the_path_are_left_to_importlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _others_mention(registry.GROUP)
    (tmp_path / "archive.zip").write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path / "archive.zip"))
    assert _others_mention(registry.GROUP)


def test_another_package_brings_a_kind(folder: Path, kinds: Registry[Update]) -> None:
    (folder / "outside_kind.py").write_text(PLUGIN.format(name="outside"))
    install(folder, "outside", {"outside": "outside_kind:Kind"})
    assert kinds.by_name("outside").name == "outside"
    assert kinds.by_name("outside") is kinds.by_name("outside")
    assert kinds.names()[-1] == "outside"


@pytest.mark.parametrize("other", ["delta", "twice"])
def test_a_name_that_is_taken_is_an_error(folder: Path, kinds: Registry[Update], other: str) -> None:
    install(folder, "first", {other: "first_kind:Kind"})
    install(folder, "second", {other: "second_kind:Kind"})
    with pytest.raises(ThetaError, match=f"{other!r} of package (first|second) has a name that is taken"):
        kinds.names()


def test_a_package_found_twice_is_no_error(folder: Path, kinds: Registry[Update]) -> None:
    (folder / "outside_kind.py").write_text(PLUGIN.format(name="outside"))
    install(folder, "outside", {"outside": "outside_kind:Kind"})
    install(folder, "outside_again", {"outside": "outside_kind:Kind"})
    assert kinds.names().count("outside") == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("broken", "1/0", "cannot be loaded"),
        ("nameless", "class Kind: pass", "breaks the interface"),
        ("renamed", PLUGIN.format(name="other"), "breaks the interface"),
        ("Bad_Name", PLUGIN.format(name="Bad_Name"), "breaks the interface"),
        ("sparse", PLUGIN.format(name="sparse"), "breaks the interface"),
    ],
)
def test_a_kind_that_breaks_the_rules(
    folder: Path, kinds: Registry[Update], name: str, text: str, message: str
) -> None:
    module = f"kind_{name.lower()}"
    (folder / f"{module}.py").write_text(text)
    install(folder, "outside", {name: f"{module}:Kind"})
    with pytest.raises(ThetaError, match=f"{name!r} of package outside {message}"):
        kinds.by_name(name)


def test_a_built_in_kind_is_found_without_looking_at_other_packages() -> None:
    import subprocess

    code = (
        "import sys; from git_theta.updates import registry; registry.by_name('dense'); "
        "assert not {'importlib.metadata', 'torch', 'zarr', 'git', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
