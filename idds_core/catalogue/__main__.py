"""Prints the page of all codes: ``python -m idds_core.catalogue > docs/errors.md``."""

from __future__ import annotations

import sys

from idds_core.catalogue import markdown

sys.stdout.write(markdown())
