"""Step functions that behave, and that do not. Run by workers, from a bundle."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import helper  # type: ignore[import-not-found]  # of the bundle
import numpy as np

from idds_core.runner.context import Context, File, Infeasible, Pruned


def whistle(path: str, text: str = "") -> None:
    with Path(path).open("w") as pipe:
        pipe.write((text or str(os.getpid())) + "\n")


def double(x: float) -> dict[str, Any]:
    return {"y": 2 * x}


def everything() -> dict[str, Any]:
    return {
        "float": np.float64(1.5),
        "int": np.int32(3),
        "bool": np.bool_(True),
        "text": "ä",
        "none": None,
        "zero": np.array(2.5),
        "list": [1, np.float32(0.5)],
    }


def number() -> float:
    return 4.25


def nothing() -> None:
    return None


def not_finite() -> dict[str, float]:
    return {"a": math.nan, "b": math.inf, "c": -math.inf}


def not_json(kind: str) -> dict[Any, Any]:
    made: dict[str, dict[Any, Any]] = {"object": {"bad": object()}, "array": {"bad": np.zeros(3)}, "key": {1: 2.0}}
    return made[kind]


def circular() -> dict[str, Any]:
    loop: list[Any] = []
    loop.append(loop)
    return {"bad": loop}


def huge() -> dict[str, str]:
    return {"text": "x" * 100_000_000}


def one_file(ctx: Context, text: str) -> File:
    made = ctx.file("made.txt")
    Path(made).write_text(text)
    return made


def relative_file(ctx: Context) -> dict[str, Any]:
    Path("here.txt").write_text("here")
    return {"n": 1, "made": File("here.txt")}


def missing_file(ctx: Context) -> File:
    return ctx.file("never.txt")


def read_file(source: File, more: list[File]) -> dict[str, Any]:
    return {"text": Path(source).read_text(), "more": [Path(one).name for one in more]}


def about(ctx: Context) -> dict[str, Any]:
    return {"folder": str(ctx.folder), "cwd": str(Path.cwd()), "seed": ctx.seed, "m": ctx.parameters["m"]}


def surroundings() -> dict[str, Any]:
    return {"cwd": str(Path.cwd()), "threads": os.environ["OMP_NUM_THREADS"], "pid": os.getpid()}


def infeasible() -> None:
    raise Infeasible("m_a is above m_zp")


def raises(x: float) -> None:
    raise ValueError(f"bad value {x}")


def raises_unprintable() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise Odd


def system_exit() -> None:
    sys.exit(3)


def interrupted() -> None:
    raise KeyboardInterrupt


def prints(text: str) -> dict[str, float]:
    print(text)
    print("and an error", file=sys.stderr)
    os.write(1, b"raw\n")
    return {"y": 1.0}


def prints_a_lot(lines: int) -> None:
    for i in range(lines):
        print("line", i)


def prints_for_ever(path: str) -> None:
    whistle(path)
    block = b"\xff\x00 endless\n" * 1000
    while True:
        os.write(1, block)


def prints_then_waits(path: str, text: str) -> None:
    print(text)
    whistle(path)
    time.sleep(1000)


def prints_until_cut(lines: int) -> None:
    """Says all at once, and ends without another word when somebody has cut its log."""
    text = "".join(f"line {i}\n" for i in range(lines))
    print(text, end="")
    while os.fstat(1).st_size >= len(text):
        time.sleep(0.01)


def exits(code: int) -> None:
    print("last words")
    os._exit(code)


def exits_if(x: int, every: int) -> dict[str, int]:
    if x % every == 3:
        os._exit(9)
    return {"y": x}


def dies(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(1000)


def null_pointer() -> None:
    ctypes.string_at(0)


def closes_streams() -> dict[str, float]:
    sys.stdout.close()
    sys.stderr = None
    for fd in (0, 1, 2):
        os.close(fd)
    return {"y": 1.0}


def closes_streams_and_raises() -> None:
    sys.stderr.close()
    os.close(2)
    raise ValueError("after the end of stderr")


def opens_a_file(ctx: Context) -> File:
    print("printed")
    with Path("data").open("w") as file:
        file.write("only this")
    return ctx.file("data")


def closes_everything() -> None:
    os.closerange(3, 256)


def writes_to_every_descriptor() -> None:
    for fd in range(3, 10):
        try:
            os.write(fd, b"\x00\x00\x00\x04gar!")
        except OSError:
            continue


def forks(how: str) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        if how == "raises":
            raise ValueError("in the child")
        if how == "exits":
            sys.exit(0)
        return {"who": "child"}
    os.waitpid(pid, 0)
    return {"who": "parent"}


def leaves_a_child(path: str, twice: bool) -> dict[str, Any]:
    command = f"echo $$ > {path}; exec sleep 1000"
    subprocess.run(["sh", "-c", f"({command}) &"], check=True) if twice else subprocess.Popen(["sh", "-c", command])
    return {"y": 1.0}


def spawns_and_waits(path: str) -> None:
    command = f"sleep 1000 & echo $! > {path}; wait"
    subprocess.run(["sh", "-c", command], check=True)


def waits(path: str) -> None:
    whistle(path)
    time.sleep(1000)


def waits_for(path: str, gate: str) -> dict[str, Any]:
    whistle(path)
    with Path(gate).open() as pipe:
        return {"told": pipe.readline().strip()}


def maybe_waits(x: int, path: str, gate: str) -> dict[str, Any]:
    return waits_for(path, gate) if x == 0 else {"y": x}


def computes_in_c(path: str) -> None:
    import re

    child = subprocess.Popen(["sleep", "1000"])
    whistle(path, f"{os.getpid()} {child.pid}")
    re.match(r"(a+)+$", "a" * 64 + "b")  # years, without ever letting the interpreter go


def grows(size: int) -> None:
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(1000)


def says_which() -> dict[str, str]:
    return {"bundle": helper.NAME}


def ignores_signals(path: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    waits(path)


not_a_function = 3


def finds_the_disk_full() -> None:
    with Path("/dev/full").open("w") as file:
        file.write("x")


def telling(ctx: Context, values: list[Any]) -> dict[str, Any]:
    ctx.progress(0.0, "begun")
    for step, value in enumerate(values):
        ctx.report(step, value)
    ctx.progress(1.0, "ended")
    return {"count": len(values)}


def tells_from_elsewhere(ctx: Context) -> dict[str, Any]:
    import threading

    ready = threading.Event()

    def later() -> None:
        ready.wait()
        while True:
            ctx.report(8, 8.0)
            time.sleep(0.001)

    if os.fork() == 0:
        ctx.report(9, 9.0)
        os._exit(0)
    os.wait()
    threading.Thread(target=later, daemon=True).start()
    threading.Timer(0.05, ready.set).start()
    return {}


def goes_on(ctx: Context, cleaned: str) -> None:
    step = 0
    while True:
        try:
            ctx.report(step, 1.0)
        except Pruned as why:
            Path(cleaned).write_text(str(why), encoding="utf-8")
            raise
        step += 1
        time.sleep(0.01)


def reports_once(ctx: Context, whistle: str) -> None:
    ctx.report(0, 1.0)
    with Path(whistle).open("a", encoding="utf-8") as file:
        print("reported", file=file)
    signal.pause()


def counts(ctx: Context) -> dict[str, Any]:
    count = int(ctx.load("count") or b"0") + 1
    ctx.save("count", str(count))
    return {"count": count}
