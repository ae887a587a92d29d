"""Comparing checkpoints."""
