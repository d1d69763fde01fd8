"""A learner that is a command, for tests: random points that are new and in the space."""

import json
import random
import sys

import numpy as np

from idds_core.space import Space


def main() -> None:
    question = json.loads(sys.stdin.readline())
    space, draw = Space.from_json(question["space"]), random.Random(question["seed"])
    known = [p["parameters"] for p in question["points"]]
    found: list[dict[str, object]] = []
    for _ in range(100 * question["n"]):
        (point,) = space.from_unit(np.array([[draw.random() for _ in space.names]]))
        if len(found) < question["n"] and point not in known and not space.point_problem(point):
            known.append(point)
            found.append(point)
    print(json.dumps({"points": found, "reason": "" if found else "no new point was found"}))


if __name__ == "__main__":
    main()
