"""The one place where files are written: whole, under names that nobody can guess, and through no link."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import parsed

from git_theta import files
from git_theta.errors import ThetaError
from git_theta.files import TemporaryFolder, make_folder

ROOT = Path(__file__).parents[2]
LAYER = {"files.py", "objects/store.py", "objects/database.py"}
"""Where files may be written: here, and in the store and its index, whose names are their own."""


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file outside of the work tree that nothing may touch."""
    path = tmp_path / "elsewhere" / "victim"
    path.parent.mkdir()
    path.write_bytes(b"precious")
    path.chmod(0o600)
    yield path
    assert path.read_bytes() == b"precious"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["victim"]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A work tree."""
    path = tmp_path / "work"
    path.mkdir()
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_link_is_replaced_and_what_it_leads_to_stays(top: Path, victim: Path) -> None:
    (top / "m").symlink_to(victim)
    files.replace(top / "m", b"new", top=top)
    assert not (top / "m").is_symlink()
    assert (top / "m").read_bytes() == b"new"
    assert stat.S_IMODE((top / "m").stat().st_mode) == 0o666 & ~_umask()  # not the victim's
    assert names(top) == ["m"]


@pytest.mark.parametrize("aside", [False, True])
def test_a_link_with_the_temporary_name_is_not_followed(
    top: Path, victim: Path, aside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if somebody could guess the name."""
    folder = TemporaryFolder(top) if aside else None
    monkeypatch.setattr(os, "urandom", lambda count: b"\1" * count)
    with files.replacing(top / "m", aside=folder) as file:
        name = Path(str(file.name))
        file.write(b"new")
    name.symlink_to(victim)
    with pytest.raises(ThetaError, match="cannot write"):
        files.replace(top / "m", b"newer", aside=folder)
    assert (top / "m").read_bytes() == b"new"


@pytest.mark.parametrize("deep", ["d/m", "d/e/m", "d/../m"])
def test_nothing_is_written_beyond_a_link(top: Path, victim: Path, deep: str) -> None:
    (top / "d").symlink_to(victim.parent)
    with pytest.raises(ThetaError, match=r"beyond a symbolic link") as error:
        files.replace(top / deep, b"new", top=top)
    assert error.value.remedy == f"rm {top / 'd'}; then the same again"
    (top / "d").unlink()
    files.replace(top / "d/m", b"new", top=top)
    assert (top / "d/m").read_bytes() == b"new"


def test_links_that_lead_to_the_work_tree_are_the_users_own(top: Path, victim: Path) -> None:
    (victim.parent.parent / "way").symlink_to(top)
    files.replace(victim.parent.parent / "way" / "m", b"new", top=top)
    assert (top / "m").read_bytes() == b"new"


def test_places_that_users_name(top: Path, victim: Path) -> None:
    (top / "d").symlink_to(victim.parent)
    (top / "m").symlink_to(victim)
    for place in (top / "d" / "new", top / "m"):
        with pytest.raises(ThetaError) as error:
            files.check_named(place, top)
        assert error.value.remedy == f"name the place itself: {place.resolve()}"
    files.check_named(top / "d" / "new", None)  # without a work tree, folders are the user's own
    files.check_named(victim.parent / "new", top)
    with pytest.raises(ThetaError, match="No such file or directory"):
        files.check_named(top / "folder" / "new", top)


def test_what_is_no_file_stays(top: Path) -> None:
    os.mkfifo(top / "m")
    with pytest.raises(ThetaError, match="is no file") as error:
        files.replace(top / "m", b"new")
    assert error.value.remedy == "move it away, or name another place"
    assert stat.S_ISFIFO((top / "m").stat().st_mode)
    (top / "folder").mkdir()
    with pytest.raises(ThetaError, match="is no file"):
        files.replace(top / "folder", b"new")
    assert names(top) == ["folder", "m"]


@pytest.mark.parametrize("mode", [0o755, 0o600, 0o644])
def test_permissions_stay(top: Path, mode: int) -> None:
    (top / "m").write_bytes(b"old")
    (top / "m").chmod(mode)
    files.replace(top / "m", b"new")
    assert stat.S_IMODE((top / "m").stat().st_mode) == mode


def test_permissions_of_new_files(top: Path) -> None:
    files.replace(top / "hook", b"", 0o777)
    files.replace(top / "file", b"")
    assert stat.S_IMODE((top / "hook").stat().st_mode) == 0o777 & ~_umask()
    assert stat.S_IMODE((top / "file").stat().st_mode) == 0o666 & ~_umask()


def test_a_file_that_is_not_finished_is_not_there(top: Path) -> None:
    (top / "m").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), files.replacing(top / "m") as file:
        file.write(b"ne")
        raise ZeroDivisionError
    assert (top / "m").read_bytes() == b"old"
    assert names(top) == ["m"]


def test_what_a_killed_process_has_left_goes_with_the_next_file(top: Path) -> None:
    boot = files._machine()
    left, live = top / f".git-theta-of-{boot}-{1:016x}", top / f".git-theta-of-{boot}-{2:016x}"
    left.write_bytes(b"half a mod")
    (top / "of-another").write_bytes(b"not ours")
    (top / ".git-theta-link").symlink_to(top / "of-another")
    with live.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        files.replace(top / "m", b"new")
        assert names(top) == [".git-theta-link", live.name, "m", "of-another"]
    files.replace(top / "m", b"new")
    assert names(top) == [".git-theta-link", "m", "of-another"]


def test_another_file_system(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot just be renamed, it is copied beside its place first."""
    (top / "m").write_bytes(b"old")
    (top / "m").chmod(0o640)
    aside, real = TemporaryFolder(tmp_path / "aside"), files.move
    seen = []

    def move(source: Path, target: Path) -> None:
        seen.append(source.parent)
        if source.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(files, "move", move)
    files.replace(top / "m", b"new", aside=aside)
    assert seen == [aside.path, top]
    assert (top / "m").read_bytes() == b"new"
    assert stat.S_IMODE((top / "m").stat().st_mode) == 0o640
    assert names(top) == ["m"]
    assert names(aside.path) == []


def test_lines_are_added_whole(top: Path, victim: Path) -> None:
    log = top / "deep" / "log"
    files.append(log, b"one\n")
    log.write_bytes(log.read_bytes() + b"tw")  # of somebody who was killed
    files.append(log, b"three\n")
    assert log.read_bytes() == b"one\ntw\nthree\n"
    log.unlink()
    log.symlink_to(victim)
    with pytest.raises(ThetaError, match="cannot write"):
        files.append(log, b"four\n")


def test_a_second_name(top: Path) -> None:
    (top / "hook").write_bytes(b"theirs")
    files.name_too(top / "hook", top / "kept")
    assert (top / "hook").read_bytes() == (top / "kept").read_bytes() == b"theirs"
    files.name_too(top / "hook", top / "kept")  # as after a kill
    assert names(top) == ["hook", "kept"]


@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o700])
def test_folders_are_as_open_as_the_one_that_was_there(tmp_path: Path, mode: int) -> None:
    top = tmp_path / "repository.git"
    top.mkdir()
    top.chmod(mode)
    make_folder(top / "theta" / "objects" / "ab")
    make_folder(top / "theta" / "objects" / "ab")
    for folder in ("theta", "theta/objects", "theta/objects/ab"):
        assert (top / folder).stat().st_mode & 0o7777 == mode


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "theta").write_text("")
    with pytest.raises(OSError):
        make_folder(tmp_path / "theta" / "objects")


WRITING = {
    **dict.fromkeys(("write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "mkdir")),
    **dict.fromkeys(("makedirs", "chmod", "lchmod", "fchmod", "truncate", "ftruncate", "rmdir")),
    **dict.fromkeys(("unlink", "symlink", "rmtree", "copyfile", "copymode", "copytree", "mkfifo")),
    **dict.fromkeys(("NamedTemporaryFile", "mkstemp", "renames", "removedirs", "copy2", "utime")),
}
"""Functions that write, remove or change what has a name, whoever has them."""
PATHS_ONLY = {"replace": 1, "rename": 1}
"""Methods of Path by how many arguments they have: str.replace has more."""
OF_MODULE = {("os", "replace"), ("os", "rename"), ("os", "remove"), ("os", "link"), ("os", "mkdir")}
OF_MODULE |= {("shutil", "move"), ("shutil", "copy"), ("os", "chmod"), ("os", "mknod")}
EXCUSED = {
    "checkpoints/torch_writer.py: ZipFile": "into a file that is open",
    "drivers/diff_driver.py: write_bytes": "to standard output",
    "terminal/screen.py: write_bytes": "to standard output",
    "setup/template.py: rmdir": "removes its own folder, if nothing is in it",
    "drivers/purpose.py: open": "looks whether anybody reads a pipe",
    "terminal/screen.py: open": "gives a closed standard output to /dev/null",
}


def _writes(call: ast.Call) -> str:
    """The name of what a call writes with; "" if it does not write."""
    called = call.func
    if isinstance(called, ast.Name):
        name, owner = called.id, ""
    elif isinstance(called, ast.Attribute):
        name, owner = called.attr, called.value.id if isinstance(called.value, ast.Name) else ""
    else:
        return ""
    if owner == "files":
        return ""
    words = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)]
    if name == "open" and owner == "os":
        flags = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
        return name if flags & {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"} else ""
    if name in ("open", "fdopen", "FileIO", "ZipFile"):
        modes = [word for word in words if isinstance(word, str) and word and set(word) <= set("rwaxbt+")]
        of_archive = isinstance(called, ast.Attribute) and owner == "archive"
        return name if any(set(mode) & set("wax+") for mode in modes) and not of_archive else ""
    if name in WRITING or (owner, name) in OF_MODULE:
        return name
    method = isinstance(called, ast.Attribute) and owner != "dataclasses" and not call.keywords
    method = method and not any(isinstance(argument, ast.Starred) for argument in call.args)
    return name if method and PATHS_ONLY.get(name) == len(call.args) else ""


def test_only_this_layer_writes_files() -> None:
    found = set()
    for folder in (ROOT / "git_theta", *(ROOT / "plugins").glob("*")):
        for path in folder.rglob("*.py"):
            place = path.relative_to(folder).as_posix()
            if place in LAYER:
                continue
            calls = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))
            found |= {f"{place}: {name}" for call in calls if (name := _writes(call))}
    assert found - EXCUSED.keys() == set(), "write through git_theta.files"
    assert EXCUSED.keys() - found == set(), "excused for nothing"


@pytest.mark.parametrize(
    "line",
    [
        'open("x", "w")',
        'path.open("ab")',
        'path.open(mode="r+b")',
        "path.write_bytes(data)",
        "path.replace(target)",
        "os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)",
        "os.replace(a, b)",
        "shutil.copyfile(a, b)",
        "tempfile.NamedTemporaryFile()",
        "os.link(a, b)",
        'zipfile.ZipFile(path, "w")',
    ],
)
def test_the_search_finds_writers(line: str) -> None:
    [call] = [node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call)]
    assert _writes(call)


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found
