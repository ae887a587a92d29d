"""Finding formats: which one a file has, and what a plug-in that is broken takes from others: nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from plugin_packages import FORMAT, folder
from plugin_packages import install as install_package

from git_theta.checkpoints import registry
from git_theta.checkpoints.pytorch import PyTorch
from git_theta.checkpoints.safetensors import Safetensors
from git_theta.errors import BrokenPlugin, ThetaError

__all__ = ["folder"]
SAFETENSORS = b"\x02\0\0\0\0\0\0\0{}"
Install = Callable[..., None]


@pytest.fixture
def install(folder: Path) -> Install:
    """Installs a package with one format."""

    def install(
        module: str,
        entry_point: str = "ours",
        name: str = "ours",
        suffix: str = ".ours",
        magic: bytes = b"OURS",
        probe: int = 8,
        more: str = "",
    ) -> None:
        text = FORMAT.format(name=name, suffix=suffix, magic=magic, probe=probe) + more
        (folder / f"{module}.py").write_text(text)
        install_package(folder, module, {entry_point: f"{module}:Format"}, registry.GROUP)

    return install


def test_built_in_formats_are_the_entry_points_of_git_theta() -> None:
    found = {one.name for one in entry_points(group=registry.GROUP)}
    assert found >= {"safetensors", "pytorch"} == set(registry._registry._own)
    assert registry.names()[:2] == tuple(registry._registry._own)


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
        "assert '_all' not in vars(registry._registry);"
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
    assert registry.detect(SAFETENSORS, "x").name == "safetensors"  # type: ignore[union-attr]


def test_the_suffix_breaks_ties(install: Install) -> None:
    install("theirs", magic=SAFETENSORS, probe=64)
    assert registry.detect(SAFETENSORS, "x.ours").name == "ours"  # type: ignore[union-attr]
    assert registry.detect(SAFETENSORS, "x.safetensors").name == "safetensors"  # type: ignore[union-attr]
    assert registry.detect(SAFETENSORS, "x").name == "safetensors"  # type: ignore[union-attr]


def test_formats_see_no_more_than_they_asked_for(install: Install) -> None:
    install("theirs", probe=3, more="    def recognises(self, head): return len(head) == 3\n")
    assert registry.detect(b"OURS....", "x") is not None


def test_unknown_names_list_the_known_ones(install: Install) -> None:
    install("theirs")
    with pytest.raises(ThetaError, match=r"'nobodys'; known: .*ours, pytorch, safetensors") as caught:
        registry.by_name("nobodys")
    assert "pip install" in caught.value.remedy


RAISES = "    def recognises(self, head): return head and 1/0\n"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"name": "other"}, "its entry point is called so, but its name is 'other'"),
        ({"entry_point": "Ours", "name": "Ours"}, "its name is not lower case with hyphens"),
        ({"entry_point": "opaque", "name": "opaque"}, "what manifests call a file of no format"),
        ({"probe": 5000}, "its probe is 5000, and not from 1 to 4096"),
        ({"probe": 0}, "its probe is 0"),
        ({"more": "    probe = None\n"}, "TypeError"),
        ({"more": "    suffixes = '.ours'\n"}, "its suffixes are no tuple of texts"),
        ({"more": "    layout = patch = None\n"}, "it has no method layout, patch"),
        ({"more": "    def recognises(self, head): return 1/0\n"}, "ZeroDivisionError"),
        ({"more": RAISES}, "has failed: ZeroDivisionError"),
        ({"more": "    def __init__(self, x): pass\n"}, "cannot be loaded: TypeError"),
        ({"more": "raise SystemExit('no licence')\n"}, r"cannot be loaded: SystemExit\('no licence'\)"),
        ({"more": "import no_such_module\n"}, "cannot be loaded: ModuleNotFoundError"),
        ({"entry_point": "pytorch", "name": "pytorch"}, "has a name that is taken, by package git-theta"),
    ],
)
def test_a_broken_format(
    install: Install, capsys: pytest.CaptureFixture[str], what: dict[str, str], why: str
) -> None:
    install("theirs", **what)
    name = what.get("entry_point", "ours")
    for _ in range(2):
        assert registry.detect(b"OURS....", "x") is None
        assert registry.detect(SAFETENSORS, "x.safetensors") is not None
    (line,) = capsys.readouterr().err.splitlines()
    (error,) = registry.broken([b"OURS...."])
    assert line == f"git-theta: {' '.join(error.message.split())}; see: git theta doctor"
    assert error.message.startswith(f"the checkpoint format {name!r} of package theirs ")
    assert re.search(why, error.message)
    assert error.remedy.endswith("pip uninstall theirs")
    assert capsys.readouterr().err == ""  # who asks what is broken needs no warning besides


def test_a_built_in_format_keeps_its_name(install: Install) -> None:
    install("theirs", entry_point="pytorch", name="pytorch")
    assert isinstance(registry.by_name("pytorch"), PyTorch)
    registry.names()
    assert isinstance(registry.by_name("pytorch"), PyTorch)


def test_of_two_formats_with_one_name_neither_is_used(install: Install) -> None:
    install("first")
    install("second")
    assert registry.detect(b"OURS....", "x") is None
    with pytest.raises(BrokenPlugin, match="'ours' of package second has a name that is taken, by package"):
        registry.by_name("ours")
    assert len(registry.broken([])) == 1


def test_what_only_a_broken_format_could_read_is_refused(install: Install) -> None:
    install("theirs", more=RAISES)
    registry.check_unrecognised(b"text", "x", ["safetensors", "opaque", "of-nobody"])
    with pytest.raises(BrokenPlugin, match="theirs has failed"):
        registry.check_unrecognised(b"text", "x.ours", [])
    with pytest.raises(BrokenPlugin, match="theirs has failed"):
        registry.check_unrecognised(b"text", "x", ["ours"])


def test_what_was_stored_by_a_format_that_cannot_be_loaded_is_refused(install: Install) -> None:
    install("theirs", more="import no_such_module\n")
    registry.check_unrecognised(b"text", "x.ours", ["safetensors"])
    with pytest.raises(BrokenPlugin, match="cannot be loaded"):
        registry.check_unrecognised(b"text", "x.ours", ["ours"])
