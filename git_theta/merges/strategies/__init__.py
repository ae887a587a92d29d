"""The merge strategies, one module per family."""
