"""A module whose import ends the process, if it can."""

import sys

sys.exit(5)
