"""Finding formats: built-in ones, those of installed packages, and packages that do it wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from git_theta.checkpoints import registry
from git_theta.checkpoints.pytorch import PyTorch
from git_theta.checkpoints.safetensors import Safetensors
from git_theta.errors import ThetaError

SAFETENSORS = b"\x02\0\0\0\0\0\0\0{}"

PLUG_IN = """
class Format:
    name = {name!r}
    suffixes = ({suffix!r},)
    streams = True
    probe = {probe}

    def recognises(self, head):
        return head.startswith({magic!r})
"""

Install = Callable[..., None]


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    yield
    for cached in (registry.formats, registry._built_in, registry._own_entry_points):
        cached.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package with one format, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(
        module: str,
        entry_point: str = "ours",
        name: str = "ours",
        suffix: str = ".ours",
        magic: bytes = b"OURS",
        probe: int = 8,
        code: str | None = None,
    ) -> None:
        text = code or PLUG_IN.format(name=name, suffix=suffix, magic=magic, probe=probe)
        (tmp_path / f"{module}.py").write_text(text)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry_point} = {module}:Format\n")
        registry.formats.cache_clear()
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def test_built_in_formats_are_the_entry_points_of_git_theta() -> None:
    found = {one.name: one.value for one in entry_points(group=registry.GROUP)}
    built_in = dict(registry._own_entry_points())
    assert built_in.items() <= found.items()
    assert set(built_in) == {"safetensors", "pytorch"} == set(registry._built_in())


def test_built_in_formats_are_found_without_the_file_that_pip_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = set(registry._own_entry_points())
    registry._own_entry_points.cache_clear()
    monkeypatch.setattr(registry, "_INSTALLED", "git_theta-0.0.unknown.dist-info/entry_points.txt")
    assert set(registry._own_entry_points()) == expected


def test_detects_by_the_first_bytes_whatever_the_suffix() -> None:
    assert isinstance(registry.detect(SAFETENSORS, "model.safetensors"), Safetensors)
    assert isinstance(registry.detect(SAFETENSORS, "model.pt"), Safetensors)
    torch_head = b"PK\x03\x04" + b"\0" * 22 + b"\x0c\0\0\0" + b"abc/data.pkl"
    assert isinstance(registry.detect(torch_head, "MODEL.PT"), PyTorch)
    assert isinstance(registry.detect(torch_head, "no suffix"), PyTorch)
    assert registry.detect(b"text", "model.safetensors") is None
    assert registry.detect(b"", "model.safetensors") is None


def test_common_files_are_recognised_without_looking_for_plug_ins() -> None:
    code = (
        "import sys; from git_theta.checkpoints import registry; before = set(sys.modules);"
        f"assert registry.detect({SAFETENSORS!r}, 'a.safetensors').name == 'safetensors';"
        "assert registry.by_name('pytorch').name == 'pytorch';"
        "new = set(sys.modules) - before;"
        "heavy = {'importlib.metadata', 'torch', 'numpy', 'zarr', 'safetensors', 'zipfile', 'pickle'};"
        "assert not new & heavy, new & heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_plug_in_is_found(install: Install) -> None:
    install("theirs")
    found = registry.detect(b"OURS....", "x")
    assert found is not None
    assert found.name == "ours"
    assert registry.by_name("ours") is found
    assert list(registry.formats())[:2] == list(registry._built_in())
    assert registry.detect(SAFETENSORS, "x").name == "safetensors"  # type: ignore[union-attr]


def test_the_suffix_breaks_ties(install: Install) -> None:
    install("theirs", magic=SAFETENSORS, probe=64)
    assert registry.detect(SAFETENSORS, "x.ours").name == "ours"  # type: ignore[union-attr]
    assert registry.detect(SAFETENSORS, "x.safetensors").name == "safetensors"  # type: ignore[union-attr]
    assert registry.detect(SAFETENSORS, "x").name == "safetensors"  # type: ignore[union-attr]


def test_formats_see_no_more_than_they_asked_for(install: Install) -> None:
    install("theirs", code=PLUG_IN.format(name="ours", suffix=".o", magic=b"", probe=3) + (
        "        pass\n\n    def recognises(self, head):\n        return len(head) == 3\n"
    ))  # fmt: skip
    assert registry.detect(b"OURS....", "x") is not None


def test_unknown_names_list_the_known_ones(install: Install) -> None:
    install("theirs")
    with pytest.raises(ThetaError, match=r"'nobodys'; known: .*ours, pytorch, safetensors") as caught:
        registry.by_name("nobodys")
    assert "pip install" in caught.value.remedy


def test_a_name_that_is_taken(install: Install) -> None:
    install("theirs", entry_point="pytorch", name="pytorch")
    with pytest.raises(
        ThetaError, match=r"'pytorch' of package theirs has a name that is taken; taken: .*pytorch"
    ):
        registry.formats()
    assert registry.by_name("pytorch").suffixes == PyTorch.suffixes


def test_two_plug_ins_of_one_name(install: Install) -> None:
    install("first")
    install("second")
    with pytest.raises(ThetaError, match="'ours' of package second has a name that is taken"):
        registry.formats()


@pytest.mark.parametrize(
    ("entry_point", "name", "probe"),
    [
        ("ours", "other", 8),
        ("Ours", "Ours", 8),
        ("opaque", "opaque", 8),
        ("ours", "ours", 5000),
        ("ours", "ours", 0),
    ],
)
def test_plug_ins_that_break_the_rules(install: Install, entry_point: str, name: str, probe: int) -> None:
    install("theirs", entry_point=entry_point, name=name, probe=probe)
    with pytest.raises(ThetaError, match="of package theirs breaks the rules"):
        registry.formats()


@pytest.mark.parametrize(
    "code", ["import no_such_module", "x = 1", "class Format:\n    def __init__(self, x): pass"]
)
def test_plug_ins_that_cannot_be_loaded(install: Install, code: str) -> None:
    install("theirs", code=code)
    with pytest.raises(ThetaError, match="of package theirs cannot be loaded") as caught:
        registry.formats()
    assert "pip uninstall theirs" in caught.value.remedy
