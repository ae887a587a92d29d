"""Passwords and tokens in the urls of remotes are shown nowhere, and written into no log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from git_repo import GitRepo, safetensors_bytes, weights

SECRET = "s3cret"
URLS = (f"https://user:{SECRET}@127.0.0.1:1/x.git", f"https://127.0.0.1:1/x.git?access_token={SECRET}")


@pytest.mark.parametrize("url", [*URLS, f"ssh://user:{SECRET}@127.0.0.1:1/x.git"])
def test_no_command_shows_a_secret(history: GitRepo, tmp_path: Path, url: str) -> None:
    history.git("remote", "add", "origin", url)
    history.git("config", "branch.main.remote", "origin")
    environment = {"GIT_SSH_COMMAND": "false"}
    said = ""
    for command in (
        ["theta", "doctor"],
        ["theta", "doctor", "--json"],
        ["theta", "push", "origin", "HEAD"],
        ["theta", "push", url, "HEAD"],
        ["theta", "fetch", "origin"],
        ["theta", "fetch", url],
        ["theta", "pull"],
    ):
        done = history.git(*command, check=False, **environment)
        assert SECRET not in done.stdout + done.stderr, command
        said += done.stdout + done.stderr
    assert "<redacted>" in said


def test_neither_smudge_nor_pre_push_shows_a_secret(history: GitRepo, tmp_path: Path) -> None:
    bare = history.add_remote("origin")
    history.git("-c", "core.hooksPath=/dev/null", "push", "-q", "origin", "main")
    clone = GitRepo(tmp_path / "clone")
    bare.git("clone", "-q", "-n", ".", str(clone.path))
    clone.git("remote", "set-url", "origin", URLS[0])
    done = clone.git("checkout", "main", check=False)
    assert done.returncode
    assert SECRET not in done.stderr
    clone.write("model.safetensors", safetensors_bytes(weights(count=1, shape=(8, 8))))
    pushed = clone.run("git-theta", "hook", "pre-push", "origin", URLS[0], check=False, stdin=b"")
    assert SECRET not in pushed.stdout + pushed.stderr


def test_no_log_has_a_secret(plain: GitRepo) -> None:
    code = (
        "from git_theta.cli.boundary import report; from git_theta.terminal.showing import guard; guard(); "
        f"raise SystemExit(report(RuntimeError({URLS[0]!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, URLS[1]], cwd=plain.path, capture_output=True, text=True
    )
    assert "user:<redacted>@" in done.stderr
    [log] = (plain.path / ".git" / "theta" / "log").iterdir()
    assert SECRET not in done.stderr + log.read_text()
    assert "access_token=<redacted>" in log.read_text()
