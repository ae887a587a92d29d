"""Git itself, asked through the git command. Nothing here knows what a tensor is."""
