"""Where objects are pushed to and fetched from."""
