"""The command line, `alm-prompt COMMAND`: a file per command; `main` lists them."""
