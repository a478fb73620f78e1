"""A disk that is full at every point of a write: the write is refused by a typed error, and what was there is still there."""

from __future__ import annotations

import resource
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.trust.kills import PROCESSES
from benchmarks.trust.writes import WRITES
from ragguard.errors import RAGGuardError


def full_disk(points: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Let no file grow beyond a limit (RLIMIT_FSIZE), for limits from nothing to the size that the write needs.

    Args:
        points: Limits for each kind of write.
        say: Called with each step.

    Returns:
        `full_disks`, `full_disk_wrong` (neither refused nor done, or torn), and by kind of write what happened.
    """
    found: dict[str, Counter[str]] = {}
    for name in WRITES:
        with ProcessPoolExecutor(1, mp_context=PROCESSES) as pool:
            found[name] = pool.submit(_filled, name, points).result()
        say(f"disk full while: {name}: {dict(found[name])}")
    total = sum((one for one in found.values()), Counter())
    right = sum(number for how, number in total.items() if how in ("refused, old", "refused, new", "done"))
    return {"full_disks": total.total(), "full_disk_wrong": total.total() - right, "full_disk_by_write": found}


def _filled(name: str, points: int) -> Counter[str]:
    write, found = WRITES[name], Counter[str]()
    with tempfile.TemporaryDirectory() as made:
        whole = Path(made) / "whole"
        whole.mkdir()
        write.before(whole)
        write.write(whole)
        size = max(file.stat().st_size for file in whole.iterdir())
        for point in range(points):
            folder = Path(made) / str(point)
            folder.mkdir()
            write.before(folder)
            found[_limited(name, folder, size * point // points)] += 1
    return found


def _limited(name: str, folder: Path, limit: int) -> str:
    write, (soft, hard) = WRITES[name], resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        write.write(folder)
        how = "done"
    except RAGGuardError:
        how = "refused"
    except Exception as error:  # counted: nothing else may be raised
        how = repr(error)[:200]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    state = write.state(folder)
    return how if (how, state) == ("done", "new") else f"{how}, {state}"
