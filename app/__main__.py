"""Serves Chainrule: `python -m app` is `chainrule serve`, with HOST and PORT from the environment."""

import sys

from app.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]], prog_name="python -m app")
