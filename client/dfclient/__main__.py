"""`python -m dfclient`, and the installed command `dfclient`."""

import sys

from dfclient.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
