"""``python -m idds_agents`` is the command line."""

import sys

from idds_agents.cli import main

if __name__ == "__main__":
    sys.exit(main())
