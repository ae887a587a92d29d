"""A model, and a LoRA adapter for it."""

from __future__ import annotations

import json

import numpy as np
from git_repo import GitRepo

RANK = 4
SHAPE = (192, 256)


def model() -> dict[str, np.ndarray]:
    """The base."""
    random = np.random.default_rng(0)
    return {f"layers.{i}.weight": random.standard_normal(SHAPE, np.float32) for i in range(3)}


def lora() -> dict[str, np.ndarray]:
    """An adapter of its second layer."""
    random = np.random.default_rng(1)
    name = "base_model.model.layers.1"
    return {
        f"{name}.lora_A.weight": random.standard_normal((RANK, SHAPE[1]), np.float32),
        f"{name}.lora_B.weight": 0.01 * random.standard_normal((SHAPE[0], RANK), np.float32),
    }


def updates(repo: GitRepo) -> dict[str, str]:
    """What each tensor is stored by."""
    listed = json.loads(repo.theta("ls-files", "-l", "--json").stdout)
    return {tensor["name"]: tensor["update"] for tensor in listed[0]["tensors"]}
