"""How files are written: whole or not at all, under names that nobody can guess, and never through a link.

A repository is not to be trusted: any name in its work tree can be a link to somewhere else. So what is
written begins as a temporary file with a random name that must not exist, and gets its own name when it is
complete. A link that has this name is replaced; what it leads to stays as it is. Folders of a work tree that
are links lead out of it, so, as for Git, nothing is written beyond them.

Temporary files are locked while they are written. What a killed process has left is not locked, and goes with
the next file that is written in the same folder; the store's own are removed with each `git add`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any

from git_theta.errors import ThetaError, cannot_write
from git_theta.regular import open_regular
from git_theta.terminal.showing import operand, printable

_STALE_SECONDS = 24 * 3600
_OF, _SECOND = "of-", ".second"
_NAME = re.compile(r"(of-[A-Za-z0-9]*|[0-9]+-[A-Za-z0-9.]*)-[0-9a-f]{16,}(\.second)?")
"""Of temporary files, those of older versions included: all else in a folder is not ours to remove."""
_BESIDE = ".git-theta-"
"""What temporary files are called in folders that have others, too."""
_NOTHING, _AGAIN = "and git-theta writes nothing through it", "then the same again"
_NEW, _NO_LINK = 0o666, getattr(os, "O_NOFOLLOW", 0)


class WholeFile(FileIO):
    """An unbuffered file whose `write` writes everything or raises.

    The system call may write a part only, on a disk that is nearly full for one.

    Raises:
        ThetaError: on every failing write; names the place.
    """

    def write(self, data: Any) -> int:
        view, done = memoryview(data).cast("B"), 0
        try:
            while done < len(view):
                done += os.write(self.fileno(), view[done:])
        except OSError as error:
            raise cannot_write(Path(str(self.name)).parent, error) from None
        return done


class TemporaryFolder:
    """A folder for temporary files of many processes.

    Who writes a file holds a lock on it, which ends with the process, however that ends. So a leftover is a
    file whose lock can be had: that is known at once, and also where processes cannot see each other, as in
    two containers. Other machines may share the folder, too, whose locks are not seen everywhere, and some
    file systems know no locks: there, a file is a leftover after a day.

    Args:
        prefix: of the names, where the folder has other files, too.
    """

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path = path
        self._prefix = prefix

    @contextmanager
    def file(self, mode: int = 0o600) -> Iterator[WholeFile]:
        """A new file, open for writing and reading; its name is gone after the `with` block.

        Args:
            mode: its permissions, of which the user's umask takes some away.

        Raises:
            ThetaError: it cannot be made.
        """
        try:
            make_folder(self.path)
            file = self._new(mode)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        path = Path(str(file.name))
        try:
            with file:
                yield file
        finally:
            remove(path)

    def clean_up(self) -> int:
        """Remove what processes which died have left behind. Returns how many files that were."""
        removed = 0
        for path in self._dead():
            with suppress(OSError):
                path.unlink()
                removed += 1
        return removed

    def _new(self, mode: int) -> WholeFile:
        """A file that is locked, and that nobody has taken for a leftover before it was."""
        while True:
            path = self.path / f"{self._prefix}{_OF}{_machine()}-{os.urandom(8).hex()}"
            file = WholeFile(
                str(path), "x+", opener=lambda name, flags: os.open(name, flags | _NO_LINK, mode)
            )
            if _lock(file.fileno()) is not False and path.exists():
                return file
            file.close()
            remove(path)

    def _dead(self) -> Iterator[Path]:
        """The leftovers; each is locked by us while it is looked at."""
        try:
            paths = [path for path in self.path.iterdir() if path.name.startswith(self._prefix)]
        except OSError:
            return
        of_any, of_here = f"{self._prefix}{_OF}", f"{self._prefix}{_OF}{_machine()}-"
        for path in paths:
            if not _NAME.fullmatch(path.name[len(self._prefix) :]):
                continue
            first = path.with_name(path.name.removesuffix(_SECOND))
            with suppress(OSError), _locked(first) as ours:
                is_here = bool(_machine()) and path.name.startswith(of_here)
                foreign = path.name.startswith(of_any) and not is_here
                old = time.time() - path.lstat().st_mtime > _STALE_SECONDS
                proof = old if foreign or ours is None else True
                if proof and ours is not False:
                    yield path


def beside(path: Path) -> Path:
    """A second name that the writer of a temporary file may use and removes while it has that file open."""
    return path.with_suffix(_SECOND)


def replace(path: Path, data: bytes, mode: int | None = None, **how: Any) -> None:
    """Write a file; the arguments and errors are those of `replacing`."""
    with replacing(path, mode, **how) as file:
        file.write(data)


@contextmanager
def replacing(
    path: Path,
    mode: int | None = None,
    *,
    top: Path | None = None,
    aside: TemporaryFolder | None = None,
    sync: bool = False,
) -> Iterator[WholeFile]:
    """A file that takes the place of another one, or of none, when the `with` block has ended well.

    Args:
        mode: permissions, of which the user's umask takes some away. Unless they are given, those of the file
            that is replaced, or else of a new file.
        top: of the work tree that it is in, if it is in one: it is not written where only a link of that
            leads to.
        aside: where to write it before it gets its place; in the same folder unless given, or if that is on
            another file system.
        sync: have it on the disk before it gets its place.

    Raises:
        ThetaError: it cannot be written. The file that was there is as it was.
    """
    _check_place(path, top)
    folder = aside
    if folder is None:
        folder = TemporaryFolder(path.parent, _BESIDE)
        folder.clean_up()
    with folder.file(_NEW if mode is None else mode) as file:
        yield file
        try:
            _put(file, path, mode, sync)
        except OSError as error:
            if aside is None or error.errno != errno.EXDEV:
                raise cannot_write(path, error) from None
            file.seek(0)
            with replacing(path, mode, top=top, sync=sync) as near:
                shutil.copyfileobj(file, near)


def _put(file: WholeFile, path: Path, mode: int | None, sync: bool) -> None:
    """Move a temporary file, now complete, to its final path."""
    if mode is None and (there := _kind(path)) and stat.S_ISREG(there):
        os.fchmod(file.fileno(), there & 0o777)
    if sync:
        os.fsync(file.fileno())
    make_folder(path.parent)
    move(Path(str(file.name)), path)


def append(path: Path, lines: bytes) -> None:
    """Add whole lines to a file that processes share; what another one has left of a line is ended first.

    Raises:
        ThetaError: it cannot be written, or is a link.
    """
    try:
        make_folder(path.parent)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK
        with WholeFile(str(path), "r+", opener=lambda name, _: os.open(name, flags, _NEW)) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            broken = size > 0 and file.read(1) != b"\n"
            file.write(b"\n" + lines if broken else lines)
    except OSError as error:
        raise cannot_write(path, error) from None


def refuse_link(path: Path) -> None:
    """Raise ThetaError for a file that is a link, where to replace the link would be wrong, too."""
    if path.is_symlink():
        raise ThetaError(
            f"{printable(str(path))} is a symbolic link, {_NOTHING}", f"rm {operand(str(path))}; {_AGAIN}"
        )


def check_named(path: Path, top: Path | None) -> None:
    """Check a place that a user has named.

    Args:
        top: of the work tree; folders outside of it are the user's own.

    Raises:
        ThetaError: a link leads on from there, or there is no such folder.
    """
    if path.is_symlink() or (top is not None and _link_to(path, top)):
        raise ThetaError(
            f"a symbolic link leads from {printable(str(path))} to somewhere else, {_NOTHING}",
            f"name the place itself: {operand(str(path.resolve()))}",
        )
    if not path.parent.is_dir():
        raise cannot_write(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))


def _check_place(path: Path, top: Path | None) -> None:
    if top is not None and (link := _link_to(path, top)):
        raise ThetaError(
            f"{printable(str(path))} is beyond a symbolic link ({printable(str(link))}), {_NOTHING}",
            f"rm {operand(str(link))}; {_AGAIN}",
        )
    there = _kind(path)
    if there and not (stat.S_ISREG(there) or stat.S_ISLNK(there)):
        raise ThetaError(
            f"{printable(str(path))} is no file, {_NOTHING}", "move it away, or name another place"
        )


def is_beyond_link(folder: Path, top: Path) -> bool:
    """Whether a folder is a link of a work tree, or beyond one."""
    return _link_to(folder / "file", top) is not None


def _link_to(path: Path, top: Path) -> Path | None:
    """The folder of a path that is a link, in a work tree."""
    top = top.resolve()
    links = (folder for folder in path.parents if folder.is_symlink())
    return next((link for link in links if link.parent.resolve().is_relative_to(top)), None)


def _kind(path: Path) -> int:
    """The mode of a path, links not followed; 0 if nothing is there."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def move(source: Path, target: Path) -> None:
    """Give a file or a folder another name; a file that has it is replaced. Raises OSError."""
    source.replace(target)


def name_too(path: Path, name: Path) -> None:
    """Give a file a second name (a hard link), or rename it where there are no links. Raises OSError."""
    remove(name)
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError:
        move(path, name)


def remove(path: Path) -> None:
    """Remove a file or a link, if it is there. Raises OSError."""
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder and all that is in it. Raises OSError."""
    shutil.rmtree(path)


def permit(path: Path, mode: int) -> None:
    """Give a file or a folder of our own these permissions, whatever the umask is. Raises OSError."""
    path.chmod(mode)


def make_link(path: Path, target: str) -> None:
    """Make a symbolic link, where nothing is yet. Raises OSError."""
    path.symlink_to(target)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, with the permissions of the first one that was there.

    So a store in a repository that several users share (core.sharedRepository) is shared as well.

    Raises:
        OSError: it cannot be made.
    """
    lacking = []
    while not path.exists():
        lacking.append(path)
        path = path.parent
    mode = stat.S_IMODE(path.stat().st_mode)
    for folder in reversed(lacking):
        with suppress(FileExistsError):
            folder.mkdir()
            _share(folder, mode)


def _share(folder: Path, mode: int) -> None:
    """Give a new folder these permissions, but nothing that somebody has put in its place."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """Whether the lock of a file can be had, for the `with` block; None where nothing can be locked."""
    try:
        descriptor = open_regular(path, os.O_RDWR)  # some file systems lock only what can be written
    except FileNotFoundError:
        yield True  # the first name went last, so nobody uses the second one any more
        return
    except OSError:
        yield None
        return
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed: whether it is locked now; None where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@cache
def _machine() -> str:
    """Tells machines apart whose processes do not see each other's locks; containers on one are the same.

    "" where that is not known: a host's name says nothing, for two can have the same.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""
