"""Checkpoints in history: their manifests at a revision, in the index and in the work tree, compared."""
