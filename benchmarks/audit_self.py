"""The whole self audit, in every tier this machine forms, as root and as an ordinary user.

`python -m benchmarks.audit_self [TIER ...]`, or `make accept-audit`. As root it runs each tier
twice, the second time as the user nobody; as anybody else, once. It fails where anything got
through, or where fewer attacks ran than were asked for. T3 is no isolation and is run only when
it is named: its leaks are what it is refused for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIERS = ("T1", "T1b", "T2")
ATTACKS = 150
NOBODY = 65534


def main() -> int:
    """One line a user and tier; 1 where one fell short."""
    tiers = sys.argv[1:] or TIERS
    users = {"root": 0, "nobody": NOBODY} if os.geteuid() == 0 else {"this user": os.geteuid()}
    short = 0
    for tier in tiers:
        for name, uid in users.items():
            text, well = run(tier, uid)
            print(f"{tier:4} {name:10} {text}", flush=True)
            short += not well
    return 1 if short else 0


def run(tier: str, uid: int) -> tuple[str, bool]:
    """What the audit said in one tier, and whether nothing got through."""
    home = tempfile.mkdtemp(prefix="cascade-home-")
    os.chown(home, uid, -1)
    environment = {**os.environ, "HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = ["-m", "cascade_rl.cli", "audit", "--self", "--json", "--tier", tier]
    try:
        python = interpreter(uid)
        done = subprocess.run(
            [python, *command], cwd=ROOT, env=environment, capture_output=True, text=True,
            check=False, user=uid, group=uid, extra_groups=[] if os.geteuid() == 0 else None,
        )  # fmt: skip
    except PermissionError as error:
        return f"did not run: {error}", False
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if done.returncode not in (0, 1) or not done.stdout:
        return f"did not run: {(done.stderr.strip() or 'no reason').splitlines()[0]}", False
    report = json.loads(done.stdout)
    total = report["total"]
    counts = ", ".join(f"{key} {total[key]:.4g}" for key in total if key not in ("domain", "kind"))
    faulty = [case["id"] for case in report["cases"] if case["faults"]]
    well = report["clean"] and report["attacks"] >= ATTACKS
    return f"{report['attacks']} attacks: {counts}  {' '.join(faulty)}", well


def interpreter(uid: int) -> str:
    """This Python; the system's of the same version where that user cannot reach this one.

    Raises PermissionError where neither can be reached.
    """
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    last: PermissionError | None = None
    for python in (sys.executable, system):
        try:
            subprocess.run([python, "-c", ""], user=uid, check=True)
            return python
        except PermissionError as error:
            last = error
    raise last or PermissionError(system)


if __name__ == "__main__":
    sys.exit(main())
