"""The registry of plug-ins of all kinds: those of other packages, and what is wrong with some."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from plugin_packages import FORMAT, KIND, METADATA, STRATEGY, TRANSPORT, folder, install
from stored_updates import base, weights

from git_theta import entry_points
from git_theta.checkpoints import registry as formats
from git_theta.dtypes import dtype
from git_theta.errors import BrokenPlugin, NewerObject, ThetaError
from git_theta.merges import registry as strategies
from git_theta.remotes import registry as transports
from git_theta.updates import chooser, registry
from git_theta.updates.interface import Parameters, Target

__all__ = ["folder"]


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


def test_git_thetas_own_are_found_without_the_file_that_pip_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = set(entry_points.own_entry_points())
    monkeypatch.setattr(entry_points, "__version__", "0.0.unknown")
    assert set(entry_points.own_entry_points.__wrapped__()) == expected


def test_a_built_in_kind_is_found_without_looking_at_other_packages() -> None:
    code = (
        "import sys; from git_theta.updates import registry; registry.by_name('dense'); "
        "assert not {'importlib.metadata', 'torch', 'zarr', 'git', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_packages_are_found_without_importlib_metadata(folder: Path) -> None:
    (folder / "outside.py").write_text(KIND.format(name="outside"))
    install(folder, "outside", {"outside": "outside:Kind"}, registry.GROUP)
    code = (
        "import sys; from git_theta.updates import registry; registry.by_name('outside'); "
        "assert 'importlib.metadata' not in sys.modules"
    )
    path = {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}
    subprocess.run([sys.executable, "-c", code], check=True, env=path)


# Another package brings a plug-in.


def test_another_package_brings_a_kind(folder: Path) -> None:
    (folder / "outside_kind.py").write_text(KIND.format(name="outside"))
    install(folder, "outside", {"outside": "outside_kind:Kind"}, registry.GROUP)
    install(folder, "other", {"x": "other:X"}, "another.group")
    assert registry.by_name("outside").name == "outside"
    assert registry.by_name("outside") is registry.by_name("outside")
    assert registry.names()[-1] == "outside"


def test_an_old_installation_and_an_archive_bring_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = folder / "old.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text(METADATA.format("old"))
    (old / "entry_points.txt").write_text(f"# for git-theta\n\n[{registry.GROUP}]\nold=old_kind:Kind\n")
    (folder / "old_kind.py").write_text(KIND.format(name="old"))
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("new_kind.py", KIND.format(name="new"))
        archive.writestr("new-1.0.dist-info/METADATA", METADATA.format("new"))
        archive.writestr("new-1.0.dist-info/entry_points.txt", f"[{registry.GROUP}]\nnew = new_kind:Kind\n")
    monkeypatch.syspath_prepend(str(folder / "archive.zip"))
    assert registry.by_name("old").name == "old"
    assert registry.by_name("new").name == "new"


def test_a_package_found_twice_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "outside_kind.py").write_text(KIND.format(name="outside"))
    install(folder, "outside", {"outside": "outside_kind:Kind"}, registry.GROUP)
    install(folder, "outside_again", {"outside": "outside_kind:Kind"}, registry.GROUP)
    later = folder / "later"
    later.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(later)])
    install(later, "outside", {"outside": "of_an_older_version:Kind"}, registry.GROUP)
    assert registry.names().count("outside") == 1
    assert registry.by_name("outside").name == "outside"


# Broken ones.


KINDS = {"checkpoints": formats, "updates": registry, "merges": strategies, "remotes": transports}
SOUND = {
    "checkpoints": ("Format", FORMAT.format(name="mine", suffix=".mine", magic=b"MINE", probe=8)),
    "updates": ("Kind", KIND.format(name="mine")),
    "merges": ("Mine", STRATEGY.format(name="mine")),
    "remotes": ("Transport", TRANSPORT.format(name="mine")),
}
BREAKS = {
    "import": ("1/0\n{text}", "cannot be loaded: ZeroDivisionError"),
    "exit": ("import sys; sys.exit(3)\n{text}", r"cannot be loaded: SystemExit\(3\)"),
    "constructor": ("{text}\n    def __init__(self): raise OSError('no licence')\n", "no licence"),
    "no class": ("", "cannot be loaded: AttributeError"),
    "no plug-in": ("class {cls}: name = 'mine'", "breaks the interface's rules: "),
    "no name": ("class {cls}: pass", "its name is None"),
    "property": ("{text}\n    @property\n    def name(self): return 1/0\n", "ZeroDivisionError"),
}


@pytest.mark.parametrize("group", KINDS)
@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_plug_in(folder: Path, group: str, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, why = BREAKS[how]
    cls, text = SOUND[group]
    (folder / "mine_module.py").write_text(code.format(cls=cls, text=text))
    install(folder, "theirs", {"mine": f"mine_module:{cls}"}, f"git_theta.plugins.{group}")
    asked = KINDS[group]._registry
    assert "mine" in asked.names()
    with pytest.raises(BrokenPlugin, match=why) as caught:
        asked.by_name("mine")
    assert "'mine' of package theirs " in caught.value.message
    assert caught.value.remedy == "pip install --upgrade theirs, or pip uninstall theirs"
    assert capsys.readouterr().err == ""
    for _ in range(2):
        assert asked.usable("mine") is None
        assert "mine" not in {one.name for one in asked.find(lambda one: True)}
    assert capsys.readouterr().err.count("'mine' of package theirs") == 1
    assert [error.message for error in asked.broken()] == [caught.value.message]


def test_an_error_that_is_raised_again_is_a_new_one(folder: Path) -> None:
    install(folder, "theirs", {"mine": "no_such_module:Kind"}, registry.GROUP)
    for _ in range(3):
        with pytest.raises(BrokenPlugin, match=r"^the update kind 'mine'") as caught:
            registry.by_name("mine")
        caught.value.message = f"model.pt: {caught.value.message}"


def test_what_cannot_be_read_on_the_path_has_no_plug_ins(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "rubbish.zip").write_bytes(b"rubbish")
    (folder / "rubbish.dist-info").write_bytes(b"a file")
    for path in (folder / "rubbish.zip", folder / "gone"):
        monkeypatch.syspath_prepend(str(path))
    (folder / "outside_kind.py").write_text(KIND.format(name="outside"))
    install(folder, "outside", {"outside": "outside_kind:Kind"}, registry.GROUP)
    assert registry.by_name("outside").name == "outside"


def test_who_knows_what_is_broken_is_not_warned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(folder, "theirs", {"mine": "no_such_module:Kind"}, registry.GROUP)
    assert len(registry.broken()) == 1
    assert registry.usable("mine") is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("group", KINDS)
def test_a_sound_plug_in(folder: Path, group: str) -> None:
    cls, text = SOUND[group]
    (folder / "mine_module.py").write_text(text)
    install(folder, "theirs", {"mine": f"mine_module:{cls}"}, f"git_theta.plugins.{group}")
    asked = KINDS[group]._registry
    assert asked.by_name("mine").name == "mine"
    assert asked.broken() == []


@pytest.mark.parametrize("group", KINDS)
def test_of_two_packages_with_one_name_neither_is_used(folder: Path, group: str) -> None:
    for package in ("first", "second"):
        (folder / f"{package}_module.py").write_text(SOUND[group][1])
        install(folder, package, {"mine": f"{package}_module:X"}, f"git_theta.plugins.{group}")
    asked = KINDS[group]._registry
    with pytest.raises(BrokenPlugin, match="of package second has a name that is taken, by package first"):
        asked.by_name("mine")
    (error,) = asked.broken()
    assert error.remedy == "pip uninstall second"


def test_a_name_of_git_thetas_own_stays_that(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = type(registry.by_name("delta"))
    install(folder, "theirs", {"delta": "their_module:Kind"}, registry.GROUP)
    assert "delta" in registry.names()
    assert type(registry.by_name("delta")) is own
    assert own in {type(one) for one in registry._registry.find(lambda one: True)}
    assert (
        "'delta' of package theirs has a name that is taken, by package git-theta" in capsys.readouterr().err
    )
    (error,) = registry.broken()
    assert error.remedy == "pip uninstall theirs"


@pytest.mark.parametrize("name", ["Bad_Name", "sparse"])
def test_names_that_cannot_be(folder: Path, name: str) -> None:
    (folder / "mine_module.py").write_text(KIND.format(name=name))
    install(folder, "outside", {name: "mine_module:Kind"}, registry.GROUP)
    with pytest.raises(BrokenPlugin, match=f"{name!r} of package outside breaks"):
        registry._registry.by_name(name)


# Metadata that pip cannot read either.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"[git_theta.plugins.updates]\nmine = a_module:Kind\nrubbish\n", "rubbish"),
        (b"[git_theta.plugins.updates]\nm\xff = a_module:Kind\n", r"m\xff"),
        (b"[git_theta.plugins.updates]\nmine\n", "mine"),
    ],
)
def test_bad_metadata(folder: Path, text: bytes, name: str) -> None:
    info = install(folder, "theirs", {}, "", text)
    found = registry.broken()
    assert f"the update kind {name!r} of package theirs cannot be loaded" in [
        error.message.partition(": ")[0] for error in found
    ]
    assert {error.remedy for error in found} == {f"rm -r {info}"}


def test_a_package_without_a_name_has_that_of_its_folder(folder: Path) -> None:
    info = install(folder, "theirs", {"mine": "a_module:Kind"}, registry.GROUP)
    (info / "METADATA").unlink()
    (error,) = registry.broken()
    assert error.message.startswith("the update kind 'mine' of package theirs cannot be loaded")
    assert error.remedy == f"rm -r {info}"


# What fails when it is used.


@pytest.fixture
def failing(folder: Path) -> Any:
    """An update kind that is found, and then fails."""
    text = KIND.format(name="mine").replace("return []", "return 1/0")
    (folder / "mine_module.py").write_text(text)
    install(folder, "theirs", {"mine": "mine_module:Kind"}, registry.GROUP)
    return registry.by_name("mine")


def test_a_kind_that_fails_is_named(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    why = "'mine' of package theirs has failed: ZeroDivisionError"
    with pytest.raises(NewerObject, match=why), registry.calling(failing):
        failing.propose(None, [])
    with pytest.raises(NewerObject, match="has failed: NotImplementedError"):
        registry.predictor(failing, None, (), [], Parameters())  # type: ignore[arg-type]
    assert len(capsys.readouterr().err.splitlines()) == 2
    with pytest.raises(ThetaError, match="of its own"), registry.calling(failing):
        raise ThetaError("of its own")


METHODS = {
    "checkpoints": {
        "recognises": 1,
        "layout": 1,
        "expected_size": 2,
        "patch": 3,
        "remainder": 1,
        "write": 3,
        "write_merged": 5,
    },
    "updates": {"propose": 2, "predictor": 4},
    "merges": {"needs_base": 1, "unit": 1, "surveys": 1, "coefficients": 2},
    "remotes": {"serves": 1, "open": 2},
}
"""Those that are called in many places, by kinds of plug-ins, and how many arguments they take."""
UNUSED = ("recognises", "serves", "write", "write_merged")
"""What these return is not used, or only whether it is true."""


def made(folder: Path, group: str, methods: str) -> Any:
    """A plug-in of package theirs with these methods."""
    cls, text = SOUND[group]
    (folder / "mine_module.py").write_text(text + methods)
    install(folder, "theirs", {"mine": f"mine_module:{cls}"}, f"git_theta.plugins.{group}")
    return KINDS[group]._registry.by_name("mine")


@pytest.mark.parametrize("group", KINDS)
@pytest.mark.parametrize(("code", "why"), [("1/0", "ZeroDivisionError"), ("object()", "TypeError")])
def test_every_method_names_its_package(folder: Path, group: str, code: str, why: str) -> None:
    """Whether it fails, or gives what it must not."""
    asked = METHODS[group]
    if why == "TypeError":
        asked = {name: count for name, count in asked.items() if name not in UNUSED}
    # A format that fails already where it is asked about nothing is not even loaded.
    methods = (f"    def {name}(self, *of): return of != (b'',) and {code}\n" for name in asked)
    plugin = made(folder, group, "".join(methods))
    for name, count in asked.items():
        with pytest.raises(BrokenPlugin, match=f"'mine' of package theirs has failed: {why}") as caught:
            getattr(plugin, name)(*[None] * count)
        assert caught.value.remedy == "pip install --upgrade theirs, or pip uninstall theirs"


@pytest.mark.parametrize(
    ("proposal", "why"),
    [
        ("Proposal('none', ())", "an update of kind 'none', which nobody has"),
        ("Proposal('delta', (Base('w', 'made up', None),))", "'delta' from other bases"),
        ("Proposal('mine', (), Parameters({'x': {1}}))", "set is not JSON serializable"),
        ("Proposal('mine', (), Parameters({}, {'x': np.zeros(3)}))", "the array 'x' of float64"),
    ],
)
def test_proposals_that_cannot_be_stored(folder: Path, proposal: str, why: str) -> None:
    imports = "import numpy as np; from git_theta.updates.interface import Base, Parameters, Proposal"
    kind = made(folder, "updates", f"    def propose(self, target, bases): {imports}; return [{proposal}]\n")
    with pytest.raises(BrokenPlugin, match=f"'mine' of package theirs has failed: .*{why}"):
        kind.propose(None, [])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("    use = 3", "its use is no text"),
        ("    base = 'sometimes'", "its base is 'sometimes', and not one of unused, optional, required"),
        ("    least = 'two'", "it merges from 'two' to None models"),
        ("    most = 1", "it merges from 2 to 1 models"),
        ("    takes = 3", "it takes 3"),
        ("    statistics = 'fisher'", "it has no option fisher"),
        ("    options = dict", "TypeError"),
    ],
)
def test_what_a_strategy_says_of_itself_is_checked(folder: Path, line: str, why: str) -> None:
    (folder / "mine_module.py").write_text(STRATEGY.format(name="mine") + line + "\n")
    install(folder, "theirs", {"mine": "mine_module:Mine"}, strategies.GROUP)
    with pytest.raises(BrokenPlugin, match=f"'mine' of package theirs breaks the interface's rules: .*{why}"):
        strategies.by_name("mine")


def test_an_object_that_cannot_be_guarded(folder: Path) -> None:
    text = KIND.format(name="mine").replace("class Kind:", "class Kind:\n    __slots__ = ()")
    (folder / "mine_module.py").write_text(text)
    install(folder, "theirs", {"mine": "mine_module:Kind"}, registry.GROUP)
    with pytest.raises(BrokenPlugin, match="it has __slots__"):
        registry.by_name("mine")


def test_a_kind_of_git_theta_that_fails_is_a_defect() -> None:
    with pytest.raises(ZeroDivisionError), registry.calling(registry.by_name("delta")):
        raise ZeroDivisionError


def test_what_memory_does_not_suffice_for_is_no_fault_of_the_plug_in(failing: Any) -> None:
    with pytest.raises(MemoryError), registry.calling(failing):
        raise MemoryError


def test_a_failing_kind_keeps_nobody_from_storing(failing: Any) -> None:
    target = Target("w", weights(dtype("F32"), (40, 30), 1))
    found = chooser.rank(target, [base(weights(dtype("F32"), (40, 30), 2))])
    assert found.proposals[-1].update == "dense"


def test_what_a_broken_kind_has_stored_says_so(folder: Path) -> None:
    install(folder, "theirs", {"mine": "no_such_module:Kind"}, registry.GROUP)
    with pytest.raises(NewerObject, match="'mine' of package theirs cannot be loaded") as caught:
        registry.stored_by("mine")
    assert "pip uninstall theirs" in caught.value.remedy


def test_a_transport(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine_module.py").write_text(TRANSPORT.format(name="mine"))
    text = TRANSPORT.format(name="sick").replace("return url", "return 1/0 or url")
    (folder / "sick_module.py").write_text(text)
    for name in ("mine", "sick"):
        install(folder, name, {name: f"{name}_module:Transport"}, transports.GROUP)
    assert transports.open_by_transport("origin", "https://example.com/model.git") is None
    remote = transports.open_by_transport("origin", "mine://x")
    assert remote is not None
    assert remote.name == "mine"
    with pytest.raises(BrokenPlugin, match="the transport 'mine' of package mine has failed: ZeroDivision"):
        remote.has({})
    (line,) = capsys.readouterr().err.splitlines()
    assert "the transport 'sick' of package sick has failed: ZeroDivisionError" in line
