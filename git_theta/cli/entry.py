"""The `git-theta` program.

What git itself calls, in the words that `git theta install` has given it, is answered without click: to
import it takes longer than the answer of a hook.
"""

from __future__ import annotations

import git_theta.search_path  # noqa: F401  (before all others: see there)

# isort: split
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from git_theta.terminal.interrupts import heed_no_more, heed_the_first
from git_theta.terminal.showing import guard

_ABOUT_PATHSPECS = tuple(f"GIT_{kind}_PATHSPECS" for kind in ("LITERAL", "GLOB", "NOGLOB", "ICASE"))
"""From options of the git that has called us: about what was typed there, not about what we ask."""

_NOT_ON_WINDOWS = "git-theta: Windows lacks what files are locked with here: run Git and git-theta in WSL"

Call = Callable[[], int | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, and return the exit code."""
    if sys.platform == "win32":
        print(_NOT_ON_WINDOWS, file=sys.stderr)
        return 1
    # Tensors are spread over the cores here; a second level of threads below them would only get in the way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if arguments is None:
        heed_the_first()
        guard()
        for name in _ABOUT_PATHSPECS:
            os.environ.pop(name, None)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        call = _by_git(given)
        if call is None:
            return _by_user(given)
        code = call() or 0
        if arguments is None:
            _leave(code)
        return code
    except BaseException as error:
        if arguments is None:
            heed_no_more()
        from git_theta.cli.boundary import report

        return report(error)


def _by_git(arguments: list[str]) -> Call | None:
    match arguments:
        case ["filter-process"]:
            from git_theta.drivers.filter_process import main as serve

            return serve
        case ["hook", "--script", script, name, *rest]:
            from git_theta.drivers import hooks

            if name in hooks.NAMES:
                return partial(hooks.run, name, script, rest, partial(print, file=sys.stderr, flush=True))
        case ["diff-driver", *rest]:
            from git_theta.drivers import diff_driver

            return partial(diff_driver.run, rest)
        case ["textconv", file] if file not in ("-h", "--help"):  # or a file called -x
            from git_theta.drivers import textconv

            return partial(textconv.run, Path(file))
        case ["merge-driver", base, ours, theirs, size, path] if size.isdecimal():
            from git_theta.drivers import merge_driver

            call = merge_driver.Call(Path(base), Path(ours), Path(theirs), int(size), path)
            return partial(merge_driver.run, call)
    return None


def _by_user(arguments: list[str]) -> int:
    from git_theta.cli.main import run

    return run(arguments)


def _leave(code: int) -> NoReturn:
    """End the process at once; git waits for it, and to take Python apart takes 15 to 30 ms."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
