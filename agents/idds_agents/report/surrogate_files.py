"""The surrogate as files that numpy alone can evaluate: ``surrogate.json``, ``surrogate.npz`` and a README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from idds_agents.report.export import head
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import need_surrogate
from idds_core.errors import IddsError
from idds_core.ports import Portable

__all__ = ["NAMES", "write_surrogate"]

NAMES = ("surrogate.json", "surrogate.npz", "README.md")

_README = """# The surrogate of {loop}

{n} points are measured; {state}. `surrogate.json` and `surrogate.npz` hold the Gaussian process of each target
({targets}). These lines evaluate it, with numpy alone:

```python
{code}```

`evaluate(".", "{target}", [{point}])` gives the mean and the standard deviation, as
`idds-core predict` does. Outside of its space the surrogate extrapolates: {constraints}.
"""


def write_surrogate(view: LoopView, folder: Path) -> None:
    """Fill an empty folder.

    Raises
    ------
    IddsError
        When the loop has no map, or one that cannot be taken away.

    """
    import numpy as np

    surrogate: Any = need_surrogate(view)
    if not isinstance(surrogate, Portable):
        raise IddsError.of("E-EXPORT-005", f"the map of {view.path} cannot be taken away",
                           f"a {type(surrogate).__name__} has no portable()", view.path,
                           "Export the map on a grid: --what map.")  # fmt: skip
    found, arrays = surrogate.portable()
    document = {**head(view), "space": view.plan.loop.space.to_json(), **found}
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (folder / "surrogate.json").write_text(text, encoding="utf-8")
    with (folder / "surrogate.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(arrays))
    (folder / "README.md").write_text(_readme(view, str(found.get("code", ""))), encoding="utf-8")


def _readme(view: LoopView, code: str) -> str:
    example = view.history.measured[0].parameters
    ranges = [f"{n} from {p.low:g} to {p.high:g}" if hasattr(p, "low") else n  # type: ignore[union-attr]
              for n, p in view.plan.loop.space.parameters.items()]  # fmt: skip
    return _README.format(
        loop=view.path, n=view.evaluations, state=view.record.state, targets=", ".join(view.history.targets), code=code,
        target=next(iter(need_surrogate(view).targets)), point=json.dumps(dict(example)),
        constraints=", ".join([*ranges, *view.plan.loop.space.constraints]),
    )  # fmt: skip
