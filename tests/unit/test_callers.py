"""Which git command works is found in the command lines of the processes above."""

from __future__ import annotations

import pytest

from git_theta.git import callers
from git_theta.git.callers import Caller


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("git status --short", ["status", "--short"]),
        ("/usr/bin/git -C /tmp -c a.b=c --git-dir x --no-pager diff HEAD", ["diff", "HEAD"]),
        ("git --exec-path=/x -p log", ["log"]),
        ("/usr/lib/git-core/git-submodule update", ["submodule", "update"]),
        ("git.exe add .", ["add", "."]),
        ("git-theta filter-process", []),
        ("git", []),
        ("sh -c git add", []),
        ("/opt/legit add", []),
    ],
)
def test_command_lines(line: str, command: list[str]) -> None:
    assert callers.git_command(line.split()) == command


@pytest.mark.parametrize(
    ("line", "passes_on"),
    [
        ("/bin/sh -c x", True),
        ("-bash", True),
        ("env A=1 git-theta filter-process", True),
        ("git", True),
        ("/usr/bin/perl /usr/lib/git-core/git-add--interactive", True),
        ("python3 /usr/bin/git-theta pull", True),
        ("", True),
        *(
            (name, False)
            for name in ("less -R", "delta", "vim x", "script -c x", "ssh host", "python3 tool.py", "tig")
        ),
    ],
)
def test_what_may_stand_between_git_and_what_it_has_started(line: str, passes_on: bool) -> None:
    assert callers._passes_on(line.split()) == passes_on


@pytest.mark.parametrize(
    ("commands", "responsible"),
    [
        ([], []),
        (["diff-files -p", "add -p"], ["add", "-p"]),
        (["diff-index -p", "stash push --patch"], ["stash", "push", "--patch"]),
        (["diff-index HEAD", "stash push"], ["diff-index", "HEAD"]),
        (["diff-files"], ["diff-files"]),
        (["diff", "log -p"], ["diff"]),
        (["update-index -z --stdin", "stash push"], ["stash", "push"]),
        (["reset --hard", "worktree add x main"], ["worktree", "add", "x", "main"]),
        (["reset --hard", "stash push"], ["reset", "--hard"]),
        (["diff HEAD~1", "difftool -y HEAD~1"], ["difftool", "-y", "HEAD~1"]),
        (["add .", "commit -a"], ["add", "."]),
    ],
)
def test_hunks_work_for_the_command_that_stages_them(commands: list[str], responsible: list[str]) -> None:
    found = callers.responsible([Caller(command.split(), number) for number, command in enumerate(commands)])
    assert found.command == responsible


@pytest.mark.parametrize(
    ("commands", "merges"),
    [
        ([], []),
        (["merge theirs"], ["merge", "theirs"]),
        (["stash pop"], ["stash", "pop"]),
        (["stash apply", "checkout -m theirs"], ["checkout", "-m", "theirs"]),
        (["merge theirs", "pull"], ["merge", "theirs"]),
    ],
)
def test_checkout_lets_stash_merge(commands: list[str], merges: list[str]) -> None:
    assert callers.merges([command.split() for command in commands]) == merges


@pytest.mark.parametrize(
    ("command", "looks"), [("status", True), ("diff-files", True), ("add -p", False), ("", False)]
)
def test_only_commands_that_surely_store_nothing_look(command: str, looks: bool) -> None:
    assert callers.looks(command.split()) == looks


@pytest.mark.parametrize(
    ("command", "may"),
    [("add .", True), ("commit -a", True), ("", True), ("checkout main", False), ("merge", False)],
)
def test_what_is_cleaned_for_some_commands_may_be_kept(command: str, may: bool) -> None:
    assert callers.may_store(command.split()) == may


@pytest.mark.parametrize(
    ("command", "shows"),
    [
        ("log -p", True),
        ("diff", True),
        ("commit -v", True),
        ("commit -m -v-like", False),
        ("status", False),
        ("stash show -p", True),
        ("stash pop", False),
        ("difftool -d", False),
        ("archive HEAD", False),
        ("cat-file --filters HEAD:x", False),
        ("cat-file --textconv HEAD:x", True),
        ("grep --textconv word", True),
        ("grep word", False),
        ("checkout main", False),
        ("", False),
    ],
)
def test_what_shows_differences_gets_manifests(command: str, shows: bool) -> None:
    assert callers.wants_manifests(command.split()) == shows


@pytest.mark.parametrize(
    ("command", "adopts"),
    [
        ("add -A", True),
        ("hash-object -w --path=m m", True),
        ("stash", False),
        ("add -p", False),
        ("status", False),
        ("checkout -m", False),
        ("commit", False),
        ("commit -m text", False),
        ("commit -qm text --author name --amend", False),
        ("commit -mtext --no-edit", False),
        ("commit -C HEAD --signoff", False),
        ("commit -am text", True),
        ("commit -qam text", True),
        ("commit --all -m text", True),
        ("commit -m text path", True),
        ("commit -m text -- path", True),
        ("commit -o path", True),
        ("commit --pathspec-from-file=x", True),
    ],
)
def test_what_is_to_be_committed(command: str, adopts: bool) -> None:
    assert callers.adopts(command.split()) == adopts


@pytest.mark.parametrize("options", [["-n"], ["-vn", "x"], ["--dry-run"], ["x", "--dry"]])
def test_an_add_that_only_pretends_stores_nothing(options: list[str]) -> None:
    assert callers.looks(["add", *options])
    assert not callers.looks(["add", "-v", "--", *options])
    assert not callers.looks(["commit", *options])
