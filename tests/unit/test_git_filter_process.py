"""The filter process: it answers before it imports what is slow, and stays polite whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filter_examples import weights
from git_repo import safetensors_bytes

from git_theta.drivers.pktline import PacketReader, PacketWriter
from git_theta.kernels import NATIVE
from git_theta.manifest import parse

FORBIDDEN = {"numpy", "torch", "zarr", "git", "safetensors", "httpx", "rich", "zstandard"}
"""`git` is GitPython."""

SERVE_AND_TELL = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from git_theta.drivers.filter_process import main
main()
"""
"""Serves, and ends with the names of all modules that were imported."""

PRINT_AND_SERVE = """
import os
from git_theta.drivers import filter_process
filter_process.serve = lambda incoming, outgoing: (print("hello", flush=True), os.write(outgoing, b"0000"))
filter_process.main()
"""


class Conversation:
    """What git says to a filter process, and what it hears."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            command or ["git-theta", "filter-process"],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin
        assert self._process.stdout
        self.writer = PacketWriter(self._process.stdin.fileno())
        self.reader = PacketReader(self._process.stdout.fileno())

    def shake_hands(self) -> list[str] | None:
        self.writer.lines(["git-filter-client", "version=2"])
        assert self.reader.lines() == ["git-filter-server", "version=2"]
        self.writer.lines([f"capability={name}" for name in ("clean", "smudge", "delay", "dance")])
        return self.reader.lines()

    def ask(self, *lines: str, contents: bytes = b"") -> list[str] | None:
        """Send a request with contents; the first part of the answer."""
        self.writer.lines(lines)
        if lines[0] != "command=list_available_blobs":
            self.writer.contents(contents)
            self.writer.flush()
        return self.reader.lines()

    def contents(self) -> bytes:
        """What comes behind `status=success`, and that it ends well."""
        self.reader.start()
        found, buffer = bytearray(), memoryview(bytearray(1 << 16))
        while got := self.reader.readinto(buffer):
            found += buffer[:got]
        assert self.reader.lines() == []
        return bytes(found)

    def end(self) -> tuple[int, str]:
        """Close the pipes as git does; exit code and what was said to the user."""
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._process.stdin.close()
        if not self._process.stderr.closed:
            self._said = self._process.stderr.read().decode()
            self._process.stdout.close()
            self._process.stderr.close()
        return self._process.wait(), self._said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.fixture
def talk(folder: Path) -> Iterator[Conversation]:
    talk = Conversation(folder)
    assert talk.shake_hands() == ["capability=clean", "capability=smudge", "capability=delay"]
    yield talk
    talk.end()


def test_hands_are_shaken_without_what_is_slow_to_import(folder: Path) -> None:
    """Also passing a file through, and leaving, needs none of it."""
    talk = Conversation(folder, sys.executable, "-c", SERVE_AND_TELL)
    assert talk.shake_hands()
    assert talk.ask("command=smudge", "pathname=a.pt", contents=b"raw") == ["status=success"]
    assert talk.contents() == b"raw"
    code, said = talk.end()
    assert code == 0
    loaded = {name.partition(".")[0] for name in json.loads(said.splitlines()[-1])}
    assert not loaded & (FORBIDDEN if NATIVE else FORBIDDEN - {"numpy"})
    assert "git_theta" in loaded


def test_cleaning_imports_nothing_that_is_slow_and_not_needed(folder: Path) -> None:
    talk = Conversation(folder, sys.executable, "-c", SERVE_AND_TELL)
    talk.shake_hands()
    assert talk.ask("command=clean", "pathname=a.safetensors", contents=safetensors_bytes(weights())) == [
        "status=success"
    ]
    assert talk.contents().startswith(b'{"git-theta":2,')
    _, said = talk.end()
    loaded = {name.partition(".")[0] for name in json.loads(said.splitlines()[-1])}
    assert not loaded & (FORBIDDEN - {"numpy", "zstandard"})


def test_there_and_back(talk: Conversation) -> None:
    data = safetensors_bytes(weights())
    assert talk.ask("command=clean", "pathname=a.safetensors", contents=data) == ["status=success"]
    text = talk.contents()
    assert talk.ask("command=smudge", "pathname=a.safetensors", contents=text) == ["status=success"]
    assert talk.contents() == data
    assert talk.ask("command=clean", "pathname=empty", contents=b"") == ["status=success"]
    empty = talk.contents()
    assert talk.ask("command=smudge", "pathname=empty", contents=empty) == ["status=success"]
    assert talk.contents() == b""


def test_a_raw_file_that_is_large_goes_through_a_file(talk: Conversation, folder: Path) -> None:
    for size in ((1 << 20) - 1, 1 << 20, (5 << 20) + 3):
        data = os.urandom(size)
        assert talk.ask("command=smudge", "pathname=raw.pt", contents=data) == ["status=success"]
        assert talk.contents() == data
    assert not list((folder / ".git" / "theta" / "tmp").iterdir())


def test_a_refused_file_does_not_stop_the_next(talk: Conversation) -> None:
    data = safetensors_bytes(weights())
    for bad in (data[:-1], b'{"git-theta":1, damaged'):
        assert talk.ask("command=clean", "pathname=a.safetensors", contents=bad) == ["status=error"]
    assert talk.ask("command=dance", "pathname=x", contents=b"y") == ["status=abort"]
    assert talk.ask("command=clean", "pathname=a.safetensors", contents=data) == ["status=success"]
    talk.contents()
    code, said = talk.end()
    assert code == 0
    assert said.count("git-theta: a.safetensors: ") == 2
    assert "Traceback" not in said


def test_delayed_files_that_fail_come_last_and_all_are_named(folder: Path) -> None:
    files = {f"{name}.safetensors": safetensors_bytes(weights(seed)) for seed, name in enumerate("abcdef")}
    talk = Conversation(folder)
    talk.shake_hands()
    texts = {}
    for name, data in files.items():
        talk.ask("command=clean", f"pathname={name}", contents=data)
        texts[name] = talk.contents()
    talk.end()
    store = folder / ".git" / "theta" / "objects"
    read = {name: parse(text) for name, text in texts.items()}
    oids = {name: one.storage[one.tensors[1].digest].oid for name, one in read.items()}
    paths = {name: next(store.glob(f"??/??/{oid}")) for name, oid in oids.items()}
    paths["a.safetensors"].unlink()
    damaged = bytearray(paths["c.safetensors"].read_bytes())
    damaged[len(damaged) // 2] ^= 4
    paths["c.safetensors"].chmod(0o644)
    paths["c.safetensors"].write_bytes(damaged)
    texts["e.safetensors"] = texts["e.safetensors"].replace(b'"size"', b'"sise"', 1)
    bad = ["a.safetensors", "c.safetensors", "e.safetensors"]

    talk = Conversation(folder)
    talk.shake_hands()
    for name, text in texts.items():
        answer = talk.ask("command=smudge", f"pathname={name}", "can-delay=1", contents=text)
        assert answer == ["status=delayed"]
    offered = talk.ask("command=list_available_blobs")
    assert talk.reader.lines() == ["status=success"]
    assert sorted(offered or []) == [f"pathname={name}" for name in texts if name not in bad]
    for line in offered or []:
        name = line.removeprefix("pathname=")
        assert talk.ask("command=smudge", line) == ["status=success"]
        assert talk.contents() == files[name]
    last = talk.ask("command=list_available_blobs")
    assert talk.reader.lines() == ["status=success"]
    assert sorted(last or []) == [f"pathname={name}" for name in bad]
    assert talk.ask("command=smudge", (last or [])[0]) == ["status=error"]
    code, said = talk.end()
    assert code == 0
    for name in bad:
        assert f"{name}: " in said
    assert "Traceback" not in said


def test_when_git_dies_nothing_is_left_and_little_is_said(folder: Path) -> None:
    for contents in (b"\0" * 100, safetensors_bytes(weights())[:5000]):
        talk = Conversation(folder)
        talk.shake_hands()
        talk.writer.lines(["command=clean", "pathname=a.safetensors"])
        talk.writer.contents(contents)
        code, said = talk.end()
        assert code != 0
        assert "Traceback" not in said
        assert "closed the pipe" in said
        assert not list((folder / ".git" / "theta" / "tmp").glob("*"))


def test_a_git_of_another_version_is_told_so(folder: Path) -> None:
    talk = Conversation(folder)
    talk.writer.lines(["git-filter-client", "version=3"])
    code, said = talk.end()
    assert code != 0
    assert "version 2" in said
    assert "Traceback" not in said


def test_what_is_printed_by_accident_does_not_reach_git(folder: Path) -> None:
    command = [sys.executable, "-c", PRINT_AND_SERVE]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    assert done.stdout == b"0000"
    assert b"hello" in done.stderr
