"""Readers of checkpoints that other projects published, one file per kind."""
