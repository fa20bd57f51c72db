"""Makes ``python -m thingsvision`` the same as ``thingsvision``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="thingsvision")
