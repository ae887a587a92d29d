"""How Git comes to call git-theta: configuration, hooks, and the template of new clones."""
