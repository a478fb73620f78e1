"""Processes killed at random points of a write: what is found is what was there before or what was to be there, never a mix."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.trust.writes import WRITES, Write

ATTEMPTS = 8
"""Processes for each kill at most: some are done before it comes."""

# Children are forked from a server that has imported this module: they start in milliseconds, and share no thread with a model.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


def kills(count: int, seed: int = 0, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Kill so many processes (SIGKILL) in the middle of a write, the kinds of writes in turn.

    Args:
        count: How many; those that had finished when the signal came do not count.
        seed: Of the moments.
        say: Called with each step.

    Returns:
        `kills`, `torn`, and by kind of write how many were found old and new.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, Counter[str]] = {}
    for place, (name, write) in enumerate(WRITES.items()):
        wanted = count // len(WRITES) + (place < count % len(WRITES))
        with tempfile.TemporaryDirectory() as made:
            found[name] = _kills(name, write, wanted, generator, Path(made))
        say(f"killed while: {name}: {dict(found[name])}")
    total = sum((one for one in found.values()), Counter())
    return {"kills": total.total(), "torn": total.total() - total["old"] - total["new"], "killed_by_write": found}


def _kills(name: str, write: Write, count: int, generator: np.random.Generator, made: Path) -> Counter[str]:
    old, folder = made / "old", made / "now"
    old.mkdir()
    write.before(old)
    usual = median(_run(name, old, folder, None) or 0.0 for _ in range(3))
    found: Counter[str] = Counter()
    for _ in range(ATTEMPTS * count):
        if found.total() == count:
            break
        if _run(name, old, folder, float(generator.uniform(0, usual))) is not None:
            continue
        try:
            state = write.state(folder)
            write.write(folder)  # whatever the kill left does not stop the next one
            found[state if write.state(folder) == "new" else "torn"] += 1
        except Exception as error:  # counted: nothing may be raised here
            found[repr(error)] += 1
    return found


def _run(name: str, old: Path, folder: Path, after: float | None) -> float | None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(old, folder)
    return killed(_write, (name, folder), after)


def killed(work: Callable[..., None], arguments: tuple[Any, ...], after: float | None) -> float | None:
    """Do work in a process that is killed some seconds after it began; None lets it go on.

    Returns:
        Seconds that the work took; None if it was killed before it was done.
    """
    mine, its = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_tell, args=(its, work, arguments))
    process.start()
    its.close()
    mine.recv()
    start = time.perf_counter()
    if after is not None:
        time.sleep(after)
        process.kill()
    try:
        mine.recv()
        return time.perf_counter() - start
    except EOFError:
        process.join()
        if process.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"the work itself failed: {work} {arguments}") from None
        return None
    finally:
        process.join()
        mine.close()


def _tell(told: Connection, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    told.send("now")
    work(*arguments)
    told.send("done")


def _write(name: str, folder: Path) -> None:
    WRITES[name].write(folder)
