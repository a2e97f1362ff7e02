"""Honest measurement: accuracy on base and novel classes, apart and together, over seeds and folds."""
