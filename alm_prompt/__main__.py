"""`python -m alm_prompt` is `alm-prompt`."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
