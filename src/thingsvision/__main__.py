"""Makes ``python -m thingsvision`` the same as ``thingsvision``."""

from .cli import main

main(prog_name="thingsvision")
