"""Checkpoint formats: where the tensors of a file lie."""
