"""``python -m dfexport.speed``: see `dfexport.speed.worker`."""

import sys

from dfexport.speed.worker import main

if __name__ == "__main__":
    sys.exit(main())
