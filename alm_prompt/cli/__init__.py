"""The command line: `alm-prompt quickstart | train | evaluate | predict | env`."""
