"""Where objects go when refs are pushed, and where they come from when refs are fetched."""
