"""`python -m benchmarks.engine`: ours and TRL's GRPOTrainer on the same work, in turns.

    python -m benchmarks.engine [--sizes 1M 10M] [--rounds N] [--skip-curves]
    python -m benchmarks.engine --device cuda --sizes 0.5B

One thread each (or one GPU), the same start model, prompts, group size, lengths and rewards: the
published objective, beta 0, one update on the batch, loss over its tokens. First both learn a task
over three seeds, and their rewards must agree, or no rate is quoted. Seconds are of processor time;
each side has the dtype it is fastest in.

A figure that misses what is asked, but not what was reached before, is UNDER instead of a MISS.
Beside it stands what a step would reach that were its matrix products and nothing else. Exit
status 1 where a figure is either.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.engine import roofline
from benchmarks.engine.models import build, matrices, parameters, prompts
from benchmarks.engine.sides import OURS, TRL, Side, Turns, best_dtype, take_turns
from benchmarks.engine.work import Work
from benchmarks.verifiers.duel import PEERS

SEEDS, STEPS, LAST = (0, 1, 2), 24, 8
AGREE = 0.05
"""Largest difference of the mean rewards over the last steps, pooled over the seeds."""
TWICE = 2.1
"""What twice the batch may cost."""
BARS = {
    "ragged": {"whole": 5.0},
    "ragged, half without signal": {},
    "fixed": {"generate": 4.0, "whole": 3.0},
}
FIXED_INSTEAD = (2.5, 0.6)
"""A whole step this many times faster will do where generation is at this share of the peak."""
ROUNDS = {"ragged": 5, "ragged, half without signal": 3, "fixed": 3}
HELD = {"generate": 2.0, "whole": 1.5}
"""What fixed lengths reached on a CPU without fast bfloat16 (`docs/log.md`)."""


@dataclass(frozen=True)
class Bar:
    """One figure and what was asked of it; None where nothing was."""

    name: str
    found: float
    asked: float | None
    at_most: bool = False
    held: float | None = None
    bound: float | None = None
    """What matrix products alone would give."""

    def _meets(self, other: float) -> bool:
        return self.found <= other if self.at_most else self.found >= other

    @property
    def mark(self) -> str:
        """`ok`, `UNDER` what is asked, or a `MISS` of what was reached before too."""
        if self.asked is None or self._meets(self.asked):
            return "ok"
        return "UNDER" if self.held is not None and self._meets(self.held) else "MISS"

    def __str__(self) -> str:
        asked = "" if self.asked is None else f"   {'<=' if self.at_most else '>='} {self.asked}"
        bound = f"   (products alone: {self.bound:.2f})" if self.bound is not None else ""
        return f"{self.mark:5} {self.name:58} {self.found:8.2f}{asked}{bound}"


def work_of(size: str, folder: Path, kind: str, device: str) -> Work:
    """The setting of one kind on one size; CUDA has the one of its own."""
    fixed = kind == "fixed"
    path = folder / f"{size}{'' if fixed else '-warm'}"
    if not path.exists():
        build(size, folder / size, warm=not fixed)
    said, rendered = prompts(path, 512)
    batch, new = (16, 256) if fixed else (32, 64)
    if device == "cuda":
        batch, new = 64, 1024
    half = kind.endswith("without signal")
    return Work(
        str(path), said, rendered, batch, 8, new, fixed, "half" if half else "all",
        1e-6, 1, 0, "float32", device,
    )  # fmt: skip


def curves(work: Work) -> Bar:
    """Both sides learn to say a dozen words; the difference of their mean rewards at the end."""
    ends: dict[str, list[float]] = {"ours": [], "TRL": []}
    for seed in SEEDS:
        task = replace(work, rewards="learn", learning_rate=3e-4, steps=STEPS, seed=seed)
        for name, command in (("ours", OURS), ("TRL", TRL)):
            side = Side(command, task)
            rewards = [side.step().reward for _ in range(STEPS)]
            side.close()
            ends[name].append(statistics.fmean(rewards[-LAST:]))
            shown = " ".join(f"{r:.2f}" for r in rewards[::4])
            print(f"     seed {seed} {name:4} {shown} ... {ends[name][-1]:.3f}", flush=True)
    difference = abs(statistics.fmean(ends["ours"]) - statistics.fmean(ends["TRL"]))
    return Bar("rewards of both sides differ by", difference, AGREE, at_most=True)


def fastest(size: str, folder: Path, device: str) -> tuple[str, str]:
    """The dtypes in which ours and the peer's train that size fastest, by its ragged work.

    A machine that multiplies bfloat16 at less than half of its float32 rate is not asked.
    """
    if device == "cuda":
        return "bfloat16", "bfloat16"
    if 2 * roofline.products(torch.bfloat16) < roofline.products(torch.float32):
        return "float32", "float32"
    work = work_of(size, folder, "ragged", device)
    ours = best_dtype(OURS, work, ("float32", "bfloat16"))
    return ours, best_dtype(TRL, work, ("float32", "bfloat16", "autocast"))


def measure(size: str, kind: str, work: Work, rounds: int, dtypes: tuple[str, str]) -> list[Bar]:
    """The ratios of one setting, its memory and its share of the machine's peak."""
    ours, peer = dtypes
    turns = take_turns(work, ours, peer, rounds)
    name = f"{size} {kind}"
    print(f"\n{name}: ours in {ours}, TRL in {peer}; one step to warm up "
          f"{turns.ours_first.whole:.1f} and {turns.peer_first.whole:.1f} s")  # fmt: skip
    for side, found in (("ours", turns.ours), ("TRL", turns.peer)):
        print("     " + _described(side, found), flush=True)
    bounds = _bounds(size, work, turns, ours) if kind == "fixed" and work.device == "cpu" else {}
    bars = [
        Bar(f"{name}: {what} beside TRL", turns.ratio(part), BARS[kind].get(part),
            held=HELD.get(part) if bounds else None, bound=bounds.get(part))
        for part, what in (("generate", "generation"), ("update", "update"), ("whole", "step"))
    ]  # fmt: skip
    shares = _shares(size, work, turns, ours)
    if kind == "fixed" and shares[0].found >= FIXED_INSTEAD[1]:
        bars[2] = replace(bars[2], asked=FIXED_INSTEAD[0])
    memory = turns.ours[-1].peak_mb / turns.peer[-1].peak_mb
    bars.append(Bar(f"{name}: peak memory over TRL's", memory, 1.0, at_most=True))
    if ours != peer:
        equal = take_turns(work, ours, ours, 2)
        bars.append(Bar(f"{name}: step beside TRL, both {ours}", equal.ratio("whole"), None))
    return [*bars, *shares]


def _bounds(size: str, work: Work, turns: Turns, dtype: str) -> dict[str, float]:
    """How many times TRL's a step could be that were its matrix products alone."""
    lines = work.batch * work.group
    generate, update = roofline.alone(matrices(size), lines, getattr(torch, dtype))

    def peer(part: str) -> float:
        return statistics.median(getattr(r, part) / r.tokens for r in turns.peer)

    return {
        "generate": peer("generate") / generate,
        "update": peer("update") / update,
        "whole": peer("whole") / (generate + update),
    }


def _described(side: str, found: tuple) -> str:
    tokens = sum(r.tokens for r in found)
    parts = {part: sum(getattr(r, part) for r in found) for part in ("generate", "update", "whole")}
    rates = "   ".join(f"{part} {tokens / seconds:8,.0f}" for part, seconds in parts.items())
    return f"{side:4}  tokens a second: {rates}   peak {found[-1].peak_mb} MB"


def _shares(size: str, work: Work, turns: Turns, dtype: str) -> list[Bar]:
    """Fractions of the measured peaks: two operations a weight and token, six in training."""
    peak = roofline.products(getattr(torch, dtype), work.device)
    tokens = statistics.median(r.tokens / r.generate for r in turns.ours)
    learned = statistics.median(r.tokens / r.update for r in turns.ours)
    weights = parameters(size)
    share = "share of the matrix peak"
    generation = Bar(f"{size}: generation, {share}", 2 * weights * tokens / peak, None)
    update = Bar(f"{size}: update, {share}", 6 * weights * learned / peak, None)
    copied = roofline.copies(work.device)
    print(f"     matrix product {peak / 1e9:.0f} GFLOP/s, copy {copied / 1e9:.1f} GB/s")
    return [generation, update]


def doubled(size: str, work: Work, rounds: int) -> Bar:
    """Our step with twice the prompts over our step, in turns."""
    sides = [Side(OURS, replace(work, batch=work.batch * n, steps=rounds + 1)) for n in (1, 2)]
    found = [[side.step().whole for side in sides] for _ in range(rounds + 1)][1:]
    for side in sides:
        side.close()
    ratio = statistics.median(twice / once for once, twice in found)
    return Bar(f"{size}: twice the batch costs", ratio, TWICE, at_most=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine")
    parser.add_argument("--sizes", nargs="+", default=["1M", "10M"])
    parser.add_argument("--kinds", nargs="+", default=list(BARS), choices=list(BARS))
    parser.add_argument("--rounds", type=int, help="of every kind; 5 and 3 where not given")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--skip-curves", action="store_true")
    given = parser.parse_args()
    if not PEERS.exists():
        print("error: the peers are not installed.\n  make install-bench")
        return 2
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here; on one this runs 64 x 8 completions of 1,024 tokens of a model")
        print("of 0.5B's shape on both sides, and prints shares of the copy and matrix peaks")
        return 2
    torch.set_num_threads(1)
    bars: list[Bar] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not given.skip_curves and given.device == "cpu":
            bars.append(curves(work_of("1M", folder, "ragged", given.device)))
            print(bars[-1], flush=True)
            if bars[-1].mark != "ok":
                return 1
        for size in given.sizes:
            dtypes = fastest(size, folder, given.device)
            for kind in given.kinds if given.device == "cpu" else ["fixed"]:
                work = work_of(size, folder, kind, given.device)
                rounds = given.rounds or ROUNDS[kind]
                found = measure(size, kind, work, rounds, dtypes)
                if kind == "ragged":
                    found.append(doubled(size, work, rounds))
                for bar in found:
                    print(bar, flush=True)
                bars += found
    return 0 if all(bar.mark == "ok" for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
