"""`python -m taskgen`, and the console script: the command line, once it is sure that its names mean its own files."""

import sys

from registry.cli import main

if __name__ == "__main__":
    sys.exit(main())
