"""What the diff commands do without a repository: arguments, terminals, progress, imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from git_theta.cli import entry
from git_theta.drivers import diff_driver
from git_theta.errors import ThetaError
from git_theta.terminal import screen
from git_theta.versions.places import Place, mode_lines

OID = "19" * 20
ZEROS = "0" * 40


class TestArguments:
    def test_a_change(self) -> None:
        call = diff_driver.parse(["m", "/tmp/x/m", OID, "100644", "m", ZEROS, "100644"])
        assert call.path == "m"
        assert call.old == Place("m", "100644", OID, Path("/tmp/x/m"), OID[:10])
        assert call.new == Place("m", "100644", "", Path("m"), "work tree")
        assert call.header == ()

    @pytest.mark.parametrize("nothing", [("/dev/null", ".", "."), ("/dev/null", ZEROS, "100644")])
    def test_a_side_that_is_not_there(self, nothing: tuple[str, str, str]) -> None:
        call = diff_driver.parse(["m", *nothing, "m", ZEROS, "100755"])
        assert call.old == Place("m")
        assert call.header == ("new file mode 100755",)
        assert diff_driver.parse(["m", "m", ZEROS, "100755", *nothing]).header == (
            "deleted file mode 100755",
        )

    def test_a_rename(self) -> None:
        said = "similarity index 98%\nrename from m\nrename to n\nindex 190423f..4422a54 100644\n"
        call = diff_driver.parse(["m", "x", OID, "100644", "n", ZEROS, "100755", "n", said])
        assert (call.old.path, call.new.path, call.path) == ("m", "n", "n")
        assert call.header == (
            "old mode 100644",
            "new mode 100755",
            "similarity index 98%",
            "rename from m",
            "rename to n",
        )

    def test_a_conflict(self) -> None:
        call = diff_driver.parse(["m"])
        assert (call.old.mode, call.new.mode) == ("", "")

    @pytest.mark.parametrize("count", [0, 2, 6, 8, 10])
    def test_others_are_refused(self, count: int) -> None:
        with pytest.raises(ThetaError, match="1, 7 or 9 arguments"):
            diff_driver.parse(["x"] * count)


def test_modes() -> None:
    assert mode_lines("100644", "100644") == []
    assert mode_lines("100644", "100755") == ["old mode 100644", "new mode 100755"]
    assert mode_lines("", "100644") == ["new file mode 100644"]
    assert mode_lines("100644", "") == ["deleted file mode 100644"]
    assert mode_lines("", "") == []


class TestWidth:
    @pytest.mark.parametrize(("columns", "width"), [("132", 132), ("", 80), ("0", 80), ("many", 80)])
    def test_without_a_terminal(self, monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
        monkeypatch.setenv("COLUMNS", columns)
        assert screen.style().width == width


@pytest.mark.parametrize(
    ("arguments", "variable", "coloured"),
    [
        (["diff", "--color"], "", True),
        (["diff", "--color=always"], "1", True),
        (["diff", "--color", "--no-color"], "", False),
        (["diff", "--", "--color"], "1", False),
        (["diff", "--color=auto"], "1", False),
    ],
)
def test_colour(monkeypatch: pytest.MonkeyPatch, arguments: list[str], variable: str, coloured: bool) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    assert screen.style(arguments).colour is coloured


def test_a_failure_is_shown_in_place() -> None:
    error = ThetaError("it is damaged", "git fsck")
    shown = screen.failed("m", error, screen.Style())
    assert shown == "diff --theta m\n  ! it is damaged\n  git fsck\n"


def test_what_reads_manifests_only_does_without_numpy() -> None:
    modules = [
        "commands.diff",
        "drivers.diff_driver",
        "drivers.textconv",
        "versions.norms",
        "commands.log",
        "commands.blame",
        "commands.show",
        "versions.diff_changes",
    ]
    program = "".join(f"import git_theta.{name}\n" for name in modules)
    program += "import sys\nprint(*sorted({'numpy', 'torch', 'zarr', 'git', 'rich'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_commands_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("diff", "log", "blame", "show"):
        assert f"\n  {name} " in shown
    assert "textconv" not in shown
