"""What a terminal is shown of texts that others have chosen."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from git_theta.terminal import showing

NAMES = (
    "plain",
    "-a\x01",
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
    command = [shell, "-c", f"printf %s {text}"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == name.encode(errors="surrogateescape")


def test_operands_and_pathspecs() -> None:
    assert showing.operand("-x") == "./-x"
    assert showing.pathspec("w[0].pt") == "':(literal)w[0].pt'"
    assert showing.pathspec(":x") == "':(literal):x'"
    assert showing.pathspec("-x") == "./-x"
    assert showing.fill("git add PATH < PATH", "w*") == "git --literal-pathspecs add 'w*' < 'w*'"
    long = "n" * 255
    assert showing.fill("rm -f X; git theta fetch", "w*") == "rm -f X; git theta fetch"
    assert showing.fill("x < PATH > PATH.new", "PATH_A") == "x < PATH_A > PATH_A.new"
    assert showing.fill("x < PATH > PATH.new", f"a/{long}") == f"x < a/{long} > a/.theta-new"


@pytest.mark.parametrize(
    "text", ["x://" + "?token" * 20_000, "a" * 200_000 + "://b", "x://a" + "?a=1" * 50_000]
)
def test_no_text_takes_long(text: str) -> None:
    """What goes back and tries again would take hours."""
    assert len(showing.shown(text)) >= len(text)


def test_names_and_texts() -> None:
    assert showing.printable("a\x1b[31m\u202eb\n\udcff") == "a\\x1b[31m\\u202eb\\n\\xff"
    assert showing.shown("a\tb\n\u00a0c\r") == "a\\tb\n\u00a0c\\r"
    assert showing.painted("\x1b[31ma\x1b[m\x1b]0;b") == "\x1b[31ma\x1b[m\\x1b]0;b"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://user:s3cret@host/x.git", "https://user:<redacted>@host/x.git"),
        ("https://user:s3c@ret@host/x.git", "https://user:<redacted>@host/x.git"),
        ("https://u:s3'cret@h/x", "https://u:<redacted>@h/x"),
        ('https://u:s3"cret@h/x', "https://u:<redacted>@h/x"),
        ("https://u:s3 cret@h/x is not there", "https://u:<redacted>@h/x is not there"),
        ("https://h/x and me@example.com", "https://h/x and me@example.com"),
        ("ssh://git:s3cret@host:22/x", "ssh://git:<redacted>@host:22/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("https://ghp_0123456789s3cret0123@host", "https://<redacted>@host"),
        ("https://:s3cret@host/", "https://:<redacted>@host/"),
        ("s3://b/x?X-Amz-Signature=s3cret&a=1", "s3://b/x?X-Amz-Signature=<redacted>&a=1"),
        ("https://h/x?access_token=s3cret#f", "https://h/x?access_token=<redacted>#f"),
        ("'https://u:s3cret@h', https://v:s3cret@i", "'https://u:<redacted>@h', https://v:<redacted>@i"),
        ("git@host:x.git and a@b", "git@host:x.git and a@b"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, said: str) -> None:
    assert showing.shown(url) == showing.painted(url) == said


def test_only_our_own_colours_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "utf-8", write_through=True))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True))
    showing.guard()
    assert showing.encoding(sys.stderr) == "ascii"
    print(showing.coloured(sys.stdout, "\x1b[31mours\x1b[0m"), "\x1b[31mtheirs\x9b \udcff")
    showing.control(sys.stdout, "\r")
    assert raw.getvalue() == b"\x1b[31mours\x1b[0m \\x1b[31mtheirs\\x9b \\xff\n\r"
