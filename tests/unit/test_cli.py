import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from git_theta import __version__
from git_theta.cli import boundary
from git_theta.cli.entry import main
from git_theta.cli.main import CALLED_BY_GIT, COMMANDS, SUMMARIES, cli
from git_theta.errors import ThetaError
from git_theta.terminal.units import align

HEAVY = ("numpy", "torch", "zarr", "git", "rich", "safetensors", "zstandard", "sqlite3")


def imported_by(arguments: list[str]) -> list[str]:
    """What a fresh interpreter has imported after it ran a command line."""
    code = (
        "import sys; from git_theta.cli.entry import main; main(sys.argv[1:]); "
        "print('IMPORTED', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    return done.stderr.partition("IMPORTED ")[2].split()


def test_help_imports_no_command_and_nothing_heavy() -> None:
    modules = imported_by(["--help"])
    assert "git_theta.cli.main" in modules
    assert not set(HEAVY) & set(modules)
    names = {f"git_theta.cli.{name.replace('-', '_')}" for name in SUMMARIES}
    assert not names & set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["filter-process"],
        ["hook", "--script", ".git/hooks/pre-commit", "pre-commit"],
        ["diff-driver", "model.pt", "model.pt", "0" * 40, "100644", "model.pt", "0" * 40, "100644"],
        ["textconv", "model.pt"],
        ["merge-driver", "model.pt", "model.pt", "model.pt", "7", "model.pt"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_git_calls_does_not_wait_for_click(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    modules = imported_by(arguments)
    assert f"git_theta.drivers.{arguments[0].replace('-', '_').replace('hook', 'hooks')}" in modules
    assert "click" not in modules


def test_other_words_than_git_s_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["hook", "--script", "x", "no-such-hook"], ["merge-driver", "a"], ["textconv"]):
        assert main(arguments) == 2
        assert f"Usage: git theta {arguments[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_every_command_of_the_table_is_there_and_explains_itself(name: str) -> None:
    context = click.Context(cli, info_name="git theta")
    command = cli.get_command(context, name)
    assert command is not None
    shown = command.get_help(click.Context(command, context, info_name=name))
    assert f"Usage: git theta {name}" in shown
    assert SUMMARIES[name].split()[0] in shown


@pytest.mark.parametrize("name", sorted({n for section in COMMANDS.values() for n in section}))
def test_every_command_that_users_type_has_help_and_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: git theta {name}" in shown
    text = shown.partition("Options:")[0].partition("\n  Example")[0]
    assert not re.search(r"\w,?  +\w", text), "lines of the docstring are joined with their indentation"
    module = import_module(f"git_theta.cli.{name.replace('-', '_')}")
    assert f"git theta {name}" in (module.command.help or "") or name == "version"


def test_help_lists_what_users_type_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for section, commands in COMMANDS.items():
        assert section in shown
        assert all(f"\n  {name} " in shown for name in commands)
    assert not any(f"\n  {name} " in shown for name in CALLED_BY_GIT)


def test_a_command_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statsu"]) == 2
    said = capsys.readouterr().err
    assert "no command 'statsu'; did you mean status?" in said
    assert "git theta -h" in said
    assert main(["xyzzy"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"git-theta/{__version__} (")


def failing(error: BaseException) -> click.Command:
    @click.command("failing")
    def command() -> None:
        raise error

    return command


@pytest.fixture
def run_failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(error: BaseException) -> int:
        monkeypatch.setattr(type(cli), "get_command", lambda self, context, name: failing(error))
        return main(["failing"])

    return run


def test_expected_errors_say_what_to_type(run_failing, capsys) -> None:  # type: ignore[no-untyped-def]
    assert run_failing(ThetaError("model.pt is damaged", "git theta fetch")) == 1
    assert capsys.readouterr().err == "error: model.pt is damaged\nhint: git theta fetch\n"


def test_a_traceback_is_shown_on_request(run_failing, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GIT_THETA_TRACE", "1")
    run_failing(ThetaError("x"))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_control_c(run_failing, capsys, error) -> None:  # type: ignore[no-untyped-def]
    assert run_failing(error) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_unexpected_errors_leave_a_log(run_failing, capsys, tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert run_failing(RuntimeError("surprise")) == boundary.UNEXPECTED
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    (log,) = (tmp_path / "git-theta" / "log").iterdir()
    assert str(log) in shown
    assert "surprise" in log.read_text()
    assert __version__ in log.read_text()


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["track", "--no-such-option"]])
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Usage: git theta" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_cover_both_spellings(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert "_GIT_THETA_COMPLETE" in shown
    assert {"bash": "_git_theta()", "zsh": "_git-theta()", "fish": "theta"}[shell] in shown


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"), [("git theta untr", "untrack"), ("git theta ls-files --js", "--json")]
)
def test_bash_completes_what_git_hands_on(words: str, offered: str) -> None:
    program = Path(sys.executable).with_name("git-theta")
    script = (
        f'source <("{program}" completion bash); COMP_WORDS=({words}); '
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _git_theta; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == [offered]


def test_columns_are_aligned() -> None:
    assert align([("a", "1", "x"), ("bbb", "22", "")], right=(1,)) == ["a     1  x", "bbb  22"]
    assert align([]) == []


def test_windows_is_told_where_it_runs() -> None:
    """Before anything is imported that Windows has not."""
    code = (
        "import sys; sys.platform, sys.modules['fcntl'] = 'win32', None; "
        "from git_theta.cli.entry import main; sys.exit(main(['status']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith("run Git and git-theta in WSL")
    assert len(done.stderr.splitlines()) == 1
