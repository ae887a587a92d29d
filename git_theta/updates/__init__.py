"""Update kinds: how a tensor is predicted from others, and what the prediction misses."""
