"""``python -I -S <this folder, or a zip of it> <attempt folder>``: run one command job. Needs Python 3.9 and Linux."""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH100, PTH120

import os
import sys
import types


def _make_importable() -> None:
    """Make ``idds_core.runner`` importable from this folder alone.

    The real ``idds_core`` may not exist on a worker, and where it does its import would pull in libraries.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    for name, path in (("idds_core", []), ("idds_core.runner", [here])):
        package = types.ModuleType(name)
        package.__path__ = path
        sys.modules[name] = package


if __name__ == "__main__":
    if not __package__:
        _make_importable()
    from idds_core.runner.command import main

    sys.exit(main(sys.argv[1:]))
