"""What a terminal is shown of texts that others have chosen."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from git_theta import showing

NAMES = (
    "plain",
    "a b",
    "it's",
    'say "x"',
    "$HOME `id` \\",
    "100%",
    "a\nb",
    "\x1b]0;x\x07",
    "\x9b",
    "ü\u202e",
    "-x",
    "\\n\n!",
)


@pytest.mark.parametrize("name", [*NAMES, "ends\n", "byte\udcff"])
def test_words_come_back_through_the_shell(name: str) -> None:
    text = showing.word(name)
    assert text.isprintable()
    shell = "bash" if name.endswith("\n") else "sh"
    command = [shell, "-c", f"printf %s {text if name != '-x' else text}"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == name.encode(errors="surrogateescape")


def test_operands_and_pathspecs() -> None:
    assert showing.operand("-x") == "./-x"
    assert showing.pathspec("w[0].pt") == "':(literal)w[0].pt'"
    assert showing.pathspec(":x") == "':(literal):x'"
    assert showing.pathspec("-x") == "./-x"
    assert showing.fill("git add PATH < PATH", "w*") == "git --literal-pathspecs add 'w*' < 'w*'"
    long = "n" * 255
    assert showing.fill("x < PATH > PATH.new", f"a/{long}") == f"x < a/{long} > a/.theta-new"


def test_names_and_texts() -> None:
    assert showing.printable("a\x1b[31m\u202eb\n\udcff") == "a\\x1b[31m\\u202eb\\n\\xff"
    assert showing.shown("a\tb\n\u00a0c\r") == "a\\tb\n\u00a0c\\r"
    assert showing.painted("\x1b[31ma\x1b[m\x1b]0;b") == "\x1b[31ma\x1b[m\\x1b]0;b"


def test_only_our_own_colours_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "utf-8", write_through=True))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True))
    showing.guard()
    assert showing.encoding(sys.stderr) == "ascii"
    print(showing.coloured(sys.stdout, "\x1b[31mours\x1b[0m"), "\x1b[31mtheirs\x9b \udcff")
    showing.control(sys.stdout, "\r")
    assert raw.getvalue() == b"\x1b[31mours\x1b[0m \\x1b[31mtheirs\\x9b \\xff\n\r"
