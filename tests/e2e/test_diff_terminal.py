"""Comparisons on a terminal: pager, progress, interrupts; and output that nobody reads to its end."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from diff_cases import MODEL, write_change
from git_repo import GitRepo, safetensors_bytes, version, weights
from terminals import on_a_terminal
from waiting import wait_for

_SLOW = """
import os, signal, sys
from git_theta.cli import entry
from git_theta.terminal import progress

progress._INTERVAL = 0.0
show = progress.Progress.__call__
def interrupted(*arguments):
    show(*arguments)
    os.kill(os.getpid(), signal.SIGINT)
remove = progress.Progress.__exit__
def interrupted_again(*arguments):
    if arguments[0]._visible:
        os.kill(os.getpid(), signal.SIGINT)  # as git does
    return remove(*arguments)
if "interrupt" in sys.argv:
    progress.Progress.__call__ = interrupted
    progress.Progress.__exit__ = interrupted_again
sys.argv[1:] = ["diff", "v0", "v1"]
sys.exit(entry.main())
"""


AT_ONCE = {"GIT_PROGRESS_DELAY": "0", "GIT_PAGER": "cat"}


class TestPager:
    def test_is_gits(self, history: GitRepo) -> None:
        output = on_a_terminal(history.path, "git", "theta", "diff", "v0", "v1", GIT_PAGER="sed s/^/page:/")
        assert "page:\x1b[1mdiff --theta" in output
        assert all(line.startswith("page:") for line in output.splitlines())

    @pytest.mark.parametrize(
        "options", [["--no-pager"], ["-c", "pager.theta=false"], ["-c", "core.pager=cat"]]
    )
    def test_can_be_switched_off(self, history: GitRepo, options: list[str]) -> None:
        history.git("config", "core.pager", "sed s/^/page:/")
        output = on_a_terminal(history.path, "git", *options, "theta", "diff", "v0", "v1", COLUMNS="100")
        assert "\x1b[1mdiff --theta" in output
        assert "page:" not in output

    def test_leaving_it_early_is_no_error(self, history: GitRepo) -> None:
        output = on_a_terminal(history.path, "git", "theta", "diff", "v0", "v1", GIT_PAGER="true")
        assert output == ""

    def test_none_without_a_terminal(self, history: GitRepo) -> None:
        output = history.theta("diff", "v0", "v1", GIT_PAGER="sed s/^/page:/").stdout
        assert "page:" not in output


def test_an_interrupt_leaves_nothing(history: GitRepo, tmp_path: Path) -> None:
    """While git is asked for a blob that takes its time."""
    folder = tmp_path / "bin"
    folder.mkdir()
    slow = folder / "git"
    real = shutil.which("git")
    slow.write_text(f'#!/bin/sh\n[ "$1" = cat-file ] && : >"{folder}/asked" && sleep 60\nexec {real} "$@"\n')
    slow.chmod(0o755)
    command = [sys.executable, "-m", "git_theta.cli.entry", "diff", "v0", "v1"]
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command,
        cwd=history.path,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        wait_for(folder / "asked")
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == b""
    assert b"Traceback" not in errors
    assert list((history.path / ".git/theta/tmp").glob("*")) == []


class TestProgress:
    def test_is_shown_and_goes_before_the_answer(self, history: GitRepo) -> None:
        output = on_a_terminal(history.path, sys.executable, "-c", _SLOW, code=0, **AT_ONCE)
        bar, answer = output.split("\r\x1b[K\x1b[1mdiff --theta")
        assert f"\rComparing {MODEL} [" in bar
        assert "100%" in bar
        assert "Comparing" not in answer

    def test_an_interrupt_removes_it(self, history: GitRepo) -> None:
        output = on_a_terminal(history.path, sys.executable, "-c", _SLOW, "interrupt", code=130, **AT_ONCE)
        assert "Traceback" not in output
        assert "diff --theta" not in output
        assert output.startswith(f"\rComparing {MODEL} [")
        assert output.endswith("\r\x1b[K\n")
        assert list((history.path / ".git/theta/tmp").glob("*")) == []


_ASLEEP = """
import time
from pathlib import Path
from git_theta.diffs import compare

def asleep(*arguments, **options):
    Path(__file__).with_name("asleep").touch()
    time.sleep(60)

compare.compare_checkpoints = asleep
"""


@pytest.mark.parametrize(
    "command", ["--no-pager diff", "--no-pager show --ext-diff HEAD", "theta diff HEAD~1"]
)
def test_control_c_while_git_waits_for_us(history: GitRepo, tmp_path: Path, command: str) -> None:
    """Typed on a terminal while a version that Git has whole is put aside to be read."""
    history.write("whole.bin", version(0))
    history.commit("not tracked")
    history.theta("track", "*.bin")
    history.write("whole.bin", version(1))
    history.commit("tracked")
    history.write("whole.bin", version(0))
    if command.endswith("diff"):
        command += " HEAD~1 HEAD"
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_ASLEEP)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(history.path)
        os.environ |= {"PYTHONPATH": str(folder), "TERM": "xterm", "GIT_PAGER": "cat"}
        shell = f"trap : INT; git {command} -- whole.bin; echo ended with $?; sleep 1"
        os.execvp("sh", ["sh", "-c", shell])  # as at a prompt: a shell stays when git has gone
    wait_for(folder / "asleep")
    spooled = list((history.path / ".git/theta/tmp").glob("*"))
    os.write(terminal, b"\x03")
    output = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            break
        if not read:
            break
        output += read
    os.waitpid(process, 0)
    os.close(terminal)
    assert spooled, "there was something to clean up"
    assert b"ended with 130" in output
    assert b"Traceback" not in output
    assert b"error" not in output
    assert list((history.path / ".git/theta/tmp").glob("*")) == []
    assert not (history.path / ".git/index.lock").exists()


def test_output_that_is_not_read_to_its_end_is_no_error(history: GitRepo) -> None:
    many = {f"a.{number}.weight": array for number, array in enumerate(weights(5, 900, (2, 2)).values())}
    history.write("another.safetensors", safetensors_bytes(many))
    history.commit("another model")
    for command in ("git diff v0 HEAD", "git log -p --ext-diff", "git theta diff --all v0 HEAD"):
        done = history.run("sh", "-c", f"{command} | head -n 1")
        assert len(done.stdout.splitlines()) == 1, command
        assert done.stderr == "", command


@pytest.mark.parametrize("noticed", [True, False])
def test_a_reader_that_left(history: GitRepo, noticed: bool) -> None:
    """Before the comparison, or while it was made: an error would make git say that the driver died."""
    program = "import sys\nfrom git_theta.cli import entry\nfrom git_theta.terminal import screen\n"
    program += "" if noticed else "screen.is_read = lambda: True\n"
    program += "sys.exit(entry.main(['diff-driver', *sys.argv[1:]]))"
    sides = [(MODEL, history.head(f"{revision}:{MODEL}"), "100644") for revision in ("v0", "v1")]
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", program, MODEL, *sides[0], *sides[1]]
    done = subprocess.run(command, cwd=history.path, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_only_looks_runs_nothing_and_stores_nothing(history: GitRepo) -> None:
    """Between commits and the index, --stat and --name-only are about blobs alone."""
    write_change(history, "bias")
    history.git("add", MODEL)
    for command in (
        ("diff", "--stat", "v0", "v1"),
        ("diff", "--name-only", "v0", "v1"),
        ("diff", "--stat", "--cached"),
        ("diff", "--name-only", "--cached"),
    ):
        done = history.git(*command, GIT_TRACE="1")
        assert MODEL in done.stdout
        assert "theta" not in done.stderr.replace(str(history.path), ""), "no program of ours was started"
    write_change(history, "bias", seed=8)
    objects = history.objects()
    for options in (("--stat",), ("--name-only",), ("--quiet",), ("--stat", "HEAD"), ("--numstat",)):
        history.git("diff", *options, check=False)
    assert history.objects() == objects
