"""Which texts are recognised in place of a checkpoint, and which files are not."""

from __future__ import annotations

import pytest

from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import ANNEX, EDITED, ENCODED, LFS, MARKED, ORIGINAL, SHOWN, StandIn

MANIFEST = b'{"git-theta":1,"format":"safetensors","size":8,"root":"00"}\n{"tensor":"a","dtype":"F32"}\n'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
MARKS = b"<<<<<<< HEAD\n%s=======\n%s>>>>>>> theirs\n"
DIFF3 = b"<<<<<<< ours\n%s||||||| base\n%s=======\n%s>>>>>>> theirs\n"


def crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (POINTER, LFS),
        (crlf(POINTER), LFS),
        (POINTER.decode().encode("utf-16"), LFS),
        (b"version https://hawser.github.com/spec/v1\noid sha256:00\n", LFS),
        (b"version http://git-media.io/v/2\noid sha256:00\n", LFS),
        (b"version https://git-lfs.github.com/spec/v1\next-0-foo sha256:00\noid sha256:00\n", LFS),
        (b"/annex/objects/SHA256E-s1--00.pt\n", ANNEX),
        (b"../../.git/annex/objects/a/b/SHA256E-s1--00.pt", ANNEX),
        (b"git-theta tensors 1 pytorch\n", SHOWN),
        (b'{\n  "git-theta": 1,\n', EDITED),
        (b'\n{"git-theta":1}', EDITED),
        (MANIFEST.partition(b"\n")[2].replace(b'"}', b'","digest":"00"}'), EDITED),
        (b'{"w":{"tensor_metadata":{"shape":[1]},"lfs_metadata":{}}}', ORIGINAL),
        (MARKS % (MANIFEST, MANIFEST), MARKED),
        (crlf(MARKS % (MANIFEST, MANIFEST)), MARKED),
        (DIFF3 % (MANIFEST, MANIFEST, MANIFEST), MARKED),
        (b"<<<" + MARKS % (MANIFEST, MANIFEST), MARKED),  # conflict-marker-size
        (MANIFEST + MARKS % (b"a\n", b"b\n"), MARKED),
        ((MARKS % (MANIFEST, MANIFEST)).partition(b"\n")[2], MARKED),
        ((MARKS % (MANIFEST, MANIFEST)).decode().encode("utf-16-le"), MARKED),
        (MARKS % (POINTER, POINTER), MARKED),
        (POINTER.replace(b"\n", b"\n<<<<<<< HEAD\n", 1), MARKED),
        (b"\xef\xbb\xbf" + MANIFEST, ENCODED),
        *[
            (MANIFEST.decode().encode(name), ENCODED)
            for name in ("utf-16", "utf-16-be", "utf-32", "utf-32-le")
        ],
        (MANIFEST, None),
        (crlf(MANIFEST), None),
    ],
)
def test_texts(text: bytes, kind: StandIn | None) -> None:
    assert stand_ins.recognise(text) is kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b'\x88\x01\0\0\0\0\0\0{"layer":{}}',
        b"PK\x03\x04" + bytes(4000),
        b"\x80\x02}q\0.",
        b"GGUF\x03\0\0\0",
        b"\x89HDF\r\n\x1a\n",
        b"\x93NUMPY\x01\0v\0{'descr'",
        bytes(4096),
        bytes(range(256)) * 16,
        b"\xff\xfe" + bytes(range(256)) * 16,
        b"just text\n",
        b"version 5 of the model\n",
        b"<<<<<<< HEAD\nsource code\n=======\n",
        b'{"tensor": [1, 2], "bias": [0]}',
        b'{"model": {"weight": [1]}}',
    ],
)
def test_what_can_be_a_checkpoint_is_none(head: bytes) -> None:
    assert stand_ins.recognise(head) is None


def test_plain_takes_back_what_attributes_do() -> None:
    for text in (MANIFEST, crlf(MANIFEST), *(MANIFEST.decode().encode(n) for n in ("utf-16", "utf-32-be"))):
        assert stand_ins.plain(text) == MANIFEST
    assert stand_ins.plain(crlf(MANIFEST).decode().encode("utf-16")) == MANIFEST
