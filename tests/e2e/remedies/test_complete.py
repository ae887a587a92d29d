"""Every remedy that any message prints is typed by a test, as it is printed (GitRepo.remedy, git_repo.does).

The remedies are read from the sources (see `said`), so that a new message without such a test fails here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from said import Remedy, Sources, read, shown, untyped

ROOT = Path(__file__).parents[3]
SOURCES = (ROOT / "git_theta", ROOT / "plugins")

NO_REMEDIES = {  # texts that hold a command, but do not advise it
    "For this work tree (see git worktree).": "of the help",
    "git theta": "the name of the program",
    "git merge -X ours": "explains a strategy",
    "git merge -X theirs": "explains a strategy",
    "git checkout --base of a conflict's path": "explains a strategy",
    "git theta merge needs Git 2.38 or newer, this is {}": "of a message; its remedy follows",
    "git theta repack": "the reason in a reflog",
}
OF_THE_DEMO = "git_theta/commands/demo.py"  # types its commands itself, and a test runs it
UNREACHABLE = {  # with the reason
    "activate the environment it is installed in, or: pipx install git-theta": "pipx downloads; the first "
    "half is done in test_remedies_of_setup",
    "give -o {}=REV:PATH": "said to programs that give no way to open statistics",
    "install a C compiler and Python's headers, then: pip install --force-reinstall --no-deps git-theta": (
        "pip downloads and compiles"
    ),
    "pip install -U git-theta": "what needs it was made by a git-theta that is not there yet",
    "pip install -U git-theta, or pip install the package that brings {}": "the same",
    "pip install 'git-theta[plot]'": "pip downloads",
}
NOT_YET: set[str] = set()  # to stay empty


@cache
def _remedies() -> tuple[Remedy, ...]:
    found = Sources(read(SOURCES), ROOT).remedies()
    return tuple(one for one in found if OF_THE_DEMO not in one.place)


@cache
def _lacking() -> tuple[Remedy, ...]:
    typed, done = Sources(read([ROOT / "tests"]), ROOT).typed()
    return tuple(one for one in _remedies() if untyped(one, typed, done))


def test_every_remedy_is_typed() -> None:
    excused = NO_REMEDIES.keys() | UNREACHABLE.keys() | NOT_YET
    lacking = [str(one) for one in _lacking() if shown(one.template) not in excused]
    assert not lacking, "no test types these remedies:\n" + "\n".join(lacking)


def test_exceptions_are_needed() -> None:
    there = {shown(one.template) for one in _remedies()}
    lacking = {shown(one.template) for one in _lacking()}
    excused = NO_REMEDIES.keys() | UNREACHABLE.keys() | NOT_YET
    gone, done = sorted(excused - there), sorted((excused & there) - lacking)
    assert not gone, f"no message has these any more; take them out of the lists above: {gone}"
    assert not done, f"tests type these now; take them out of the lists above: {done}"


def test_the_search_finds_what_it_should() -> None:
    templates = {shown(one.template) for one in _remedies()}
    assert len(templates) > 100
    # of an error, of one made by a helper function, of a finding, of a note, and prose
    assert {
        "git theta diff --no-index OLD NEW",
        "rm -f {}; git theta fetch --all",
        "git theta install --force{}",
        "git theta merge --abort",
        "close what quotes open",
    } <= templates
