"""git's configuration, read as git reads it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.errors import ThetaError
from git_theta.git.config import DEEPEST_ASKED_FOR, Config
from git_theta.settings import Settings


def config(*items: str) -> Config:
    """From lines KEY=VALUE, or KEY alone."""
    return Config.parse(b"".join(item.replace("=", "\n", 1).encode() + b"\0" for item in items))


def test_the_last_value_counts_and_all_are_kept() -> None:
    found = config("theta.grouping=on", "a.b=1", "theta.grouping=off", "remote.Up.Stream.url=x\ny")
    assert found.get("theta.grouping") == "off"
    assert found.get("Theta.GROUPING") == "off", "sections and names have no case"
    assert found.all("theta.grouping") == ["on", "off"]
    assert found.get("remote.Up.Stream.url") == "x\ny"
    assert found.get("remote.up.stream.url", "none") == "none", "but subsections do"
    assert found.all("nothing") == []


def test_subsections_and_sections() -> None:
    found = config("remote.origin.url=a", "remote.a.b.url=b", "remote.origin.fetch=c", "remote.pushdefault=d")
    assert found.subsections("remote") == ["origin", "a.b"]
    assert found.section("remote.origin") == {"url": ["a"], "fetch": ["c"]}
    assert config("theta.merge.rule=x", "theta.merge=y").section("theta.merge") == {"rule": ["x"]}


def test_values_that_are_not_utf8() -> None:
    found = Config.parse(b"user.name\nM\xfcller\0")
    assert found.get("user.name").encode(errors="surrogateescape") == b"M\xfcller"


@pytest.mark.parametrize(
    "text", ["true", "Yes", "ON", "1", "false", "no", "Off", "0", "", "2", "-1", "10k", "00", None]
)
def test_booleans_are_what_git_says(text: str | None) -> None:
    item = "theta.report" if text is None else f"theta.report={text}"
    asked = ["git", "-c", item, "config", "--type=bool", "theta.report"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    assert config(item).boolean("theta.report", True) == (said == "true")


@pytest.mark.parametrize("text", ["maybe", "1.5", "tru", "k"])
def test_what_is_no_boolean_is_refused(text: str) -> None:
    with pytest.raises(ThetaError, match=r"theta\.report"):
        config(f"theta.report={text}").settings()


@pytest.mark.parametrize(
    ("value", "flushes"),
    [
        (None, False),
        ("all", True),
        ("committed", True),
        ("committed,-loose-object", False),
        ("none", False),
        ("none, added", True),
        ("pack,index", False),
        ("objects", True),
        ("-loose-object,all", True),
        ("all,-objects", False),
    ],
)
def test_objects_are_flushed_when_git_flushes_its_loose_ones(value: str | None, flushes: bool) -> None:
    found = config(f"core.fsync={value}") if value else config()
    assert found.syncs_objects == flushes
    assert config("core.fsyncobjectfiles=true").syncs_objects


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_THETA_SKIP_SMUDGE", raising=False)
    assert config().settings() == Settings()
    found = config(
        "theta.allowdamaged=true",
        "theta.skipsmudge",
        "theta.skipmissing=1",
        "theta.allowincompletepush=yes",
        "theta.report=off",
        "theta.grouping=ON",
        "theta.maxchaindepth=3",
        "theta.maxchainratio=1.5",
        "theta.base=main:model.safetensors",
        "theta.hardlinks=on",
    ).settings()
    assert config("theta.report=tensors").settings().report == "tensors"
    assert found == Settings(True, True, True, True, "off", "on", 3, 1.5, "main:model.safetensors", True)


@pytest.mark.parametrize(("text", "skips"), [("1", True), ("0", False), ("no", False), ("yes", True)])
def test_the_environment_goes_before_the_configuration(
    monkeypatch: pytest.MonkeyPatch, text: str, skips: bool
) -> None:
    monkeypatch.setenv("GIT_THETA_SKIP_SMUDGE", text)
    for value in ("true", "false"):
        assert config(f"theta.skipsmudge={value}").settings().skip_smudge == skips


@pytest.mark.parametrize(
    "item",
    [
        "theta.grouping=perhaps",
        "theta.maxchaindepth=-1",
        "theta.maxchaindepth=ten",
        f"theta.maxchaindepth={DEEPEST_ASKED_FOR + 1}",
        "theta.maxchainratio=inf",
        "theta.maxchainratio=nan",
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_command_that_mends_them(item: str) -> None:
    with pytest.raises(ThetaError) as caught:
        config(item).settings()
    key, _, value = item.partition("=")
    assert key in caught.value.message.lower()
    assert value in caught.value.message
    assert caught.value.remedy.lower().startswith(f"git config {key} ")


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}\.[a-z]{1,5}", fullmatch=True), st.text(max_size=9)))
def test_anything_that_git_lists_is_read(values: dict[str, str]) -> None:
    wanted = {key: value.replace("\0", "") for key, value in values.items()}
    wanted = {key: value.encode("utf-8", "ignore").decode() for key, value in wanted.items()}
    found = config(*(f"{key}={value}" for key, value in wanted.items()))
    assert {key: found.get(key, "none") for key in wanted} == wanted
