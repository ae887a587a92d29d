"""What has run out of memory says so in many ways, and users are told in one."""

import errno

import pytest

from git_theta.cli import boundary
from git_theta.errors import too_little_memory

ERRORS = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory: you tried"),
    RuntimeError("can't start new thread"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", ERRORS)
def test_memory_that_has_run_out(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert boundary.report(error) == 1
    said = capsys.readouterr().err
    assert said == "error: there is not enough memory\nhint: close other programs, and try again\n"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), RuntimeError("not that")])
def test_what_is_something_else(error: BaseException) -> None:
    assert too_little_memory(error) is None
