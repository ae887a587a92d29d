"""Writes the first inputs of each target's corpus: python tests/fuzz/seeds.py."""

import json
import pickle
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np

FUZZ = Path(__file__).parent
sys.path[:0] = [str(FUZZ), str(FUZZ.parent / "support")]

from filter_examples import Workshop, weights  # noqa: E402
from git_repo import safetensors_bytes  # noqa: E402
from torch_files import saved  # noqa: E402

from git_theta.dtypes import dtype  # noqa: E402
from git_theta.settings import Settings  # noqa: E402
from git_theta.updates import residual  # noqa: E402

ADAPTER = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 16,
    "alpha_pattern": {"q_proj": 4, r".*\\.v_proj": 2.5},
    "rank_pattern": {"layers.0": 4},
    "use_rslora": True,
}
RULES = [
    "lm_head.*: ours\0lm_head.weight",
    "models/**/*.safetensors: ties density=0.2 rows=pad\0models/a/b/c.safetensors",
    '"w[0]": linear weight=0.3,0.7 one-sided=take\0w[0]',
    "model.layers.* -> transformer.h.*\0model.layers.3.mlp",
    "**/[a-c]?/*.pt\0x/ab/m.pt",
]


def seeds(folder: Path) -> dict[str, list[bytes]]:
    import torch

    workshop = Workshop(folder, Settings())
    small = safetensors_bytes(weights(0, 2, (16, 8)))
    changed = safetensors_bytes(
        {name: value + np.float32(0.001) for name, value in weights(0, 2, (16, 8)).items()}
    )
    texts = [workshop.clean(small)]
    texts.append(workshop.clean(changed, texts[0]))
    shared = torch.zeros(6)
    archives = [
        saved({"w": torch.ones(3), "v": torch.zeros(2, dtype=torch.int8)}),
        saved(OrderedDict(a=shared, b=shared[1:3], c=torch.nn.Parameter(torch.ones(2)))),
        saved({"q": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), "epoch": 3, "s": {1, 2}}),
    ]
    kind = dtype("BF16")
    base = np.arange(64, dtype=np.uint16)
    rows = [
        residual.encode(base.copy(), (base + step).astype(np.uint16), kind, 64 * 2 + residual.MARGIN, "off")
        for step in (1, 7)
    ]
    objects = [path.read_bytes() for path in sorted((folder / "objects").glob("*/*/*"))]
    return {
        "adapter": [json.dumps(ADAPTER).encode(), b"{}"],
        "container": [one for one in objects if len(one) < 1 << 16][:4],
        "manifest": [b"-" + text for text in texts],
        "pickle": [pickle.dumps(one, 2) for one in ({"a": [1, (2.5, "x")], "b": {3}}, [None, True, b"raw"])],
        "places": [b"aaaaaa.0", b"aaaaaa.12 bbbbbb.3 cccccc.0", b"aaaaaa.1(bbbbbb.0,cccccc.3 dddddd.1)"],
        "pytorch": archives,
        "residual_row": [b"\0" + row for row in rows if row],
        "rules": [one.encode() for one in RULES],
        "safetensors": [small, b"\x08\0\0\0\0\0\0\0{}      "],
        "stand_in": [
            b"-version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n",
            b"-/annex/objects/SHA256E-s12--" + b"0" * 64 + b".pt\n",
            b"-<<<<<<< ours\n" + texts[0],
        ],
    }


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, found in seeds(Path(folder)).items():
            place = FUZZ / "corpus" / name
            place.mkdir(parents=True, exist_ok=True)
            for number, data in enumerate(found):
                (place / f"seed-{number}").write_bytes(data)
