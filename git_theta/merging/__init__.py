"""A merge of commits: trees, heads, conflicts and their records, and what a merge commit says of itself."""
