"""Numbers and rows that describe a step; nothing here feeds back into training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, pstdev
from typing import Any

from cascade_rl.chat import to_dict
from cascade_rl.engines.local.rollout import Batch, LearningGroup


def sampling_metrics(batch: Batch) -> dict[str, float]:
    """Over everything sampled, before any filter. Lengths in tokens, entropy in nats a token."""
    completions = [c for group in batch.sampled for c in group.scored.group.completions_G]
    lengths = [len(completion.token_ids) for completion in completions]
    truncated = sum(completion.finish == "length" for completion in completions)
    tokens = sum(lengths)
    kept = sum(
        math.exp(full - sampled)
        for completion in completions
        for full, sampled in zip(completion.logprobs, completion.sampled_logprobs, strict=True)
    )
    return {
        "tokens": tokens,
        "response_length/mean": tokens / len(lengths),
        "response_length/max": max(lengths),
        "response_length/clip_ratio": truncated / len(lengths),
        "truncation_ratio": truncated / len(lengths),
        "entropy": math.fsum(batch.entropies) / tokens,
        "lost_mass": max(0.0, 1.0 - kept / tokens),
        "rounds": batch.rounds,
    }


def batch_metrics(batch: Batch) -> dict[str, float]:
    """Rewards over the judged completions and the kinds of groups, of everything sampled."""
    rewards = [r for group in batch.sampled for r in group.scored.rewards_G if r is not None]
    kinds = [kind_of(group) for group in batch.sampled]
    metrics = {f"group/frac_{kind}": kinds.count(kind) / len(kinds) for kind in KINDS}
    return metrics | {
        "reward/mean": fmean(rewards) if rewards else 0.0,
        "reward/std": pstdev(rewards) if rewards else 0.0,
        "admitted": len(batch.admitted),
        "sampled_groups": len(batch.sampled),
        "signal": sum(group.mixed for group in batch.admitted) / max(1, len(batch.admitted)),
        "unjudged": sum(r is None for group in batch.sampled for r in group.scored.rewards_G),
    }


KINDS = ("mixed", "all_right", "all_wrong", "unjudged")


def kind_of(group: LearningGroup) -> str:
    """What a group can teach, by outcome; a domain without outcomes is always mixed."""
    if sum(reward is not None for reward in group.scored.rewards_G) < 2:
        return "unjudged"
    if group.mixed:
        return "mixed"
    return "all_right" if any(s.outcome for s in group.scored.signals_G) else "all_wrong"


def rollout_rows(step: int, batch: Batch) -> list[Mapping[str, Any]]:
    """Every prompt, completion, signal, reward and advantage of the step, one row each."""
    admitted = {id(group) for group in batch.admitted}
    return [
        row for group in batch.sampled for row in _rows_of_group(step, group, id(group) in admitted)
    ]


def _rows_of_group(step: int, group: LearningGroup, admitted: bool) -> Sequence[Mapping[str, Any]]:
    scored = group.scored
    problem = scored.group.problem
    prompt = json.dumps([to_dict(message) for message in problem.prompt])
    rows = []
    for sample, completion in enumerate(scored.group.completions_G):
        signals = asdict(scored.signals_G[sample])
        verdict = signals.pop("verdict") or {}
        rows.append(
            {
                "step": step,
                "problem_id": problem.id,
                "domain": problem.domain,
                "sample": sample,
                "mode": scored.group.mode,
                "prompt": prompt,
                "completion": completion.text.encode("utf-8", "replace").decode(),
                "tokens": len(completion.token_ids),
                "finish": completion.finish,
                "status": verdict.get("status"),
                "score": verdict.get("score"),
                "reason": verdict.get("reason"),
                "tier": verdict.get("tier"),
                **signals,
                "reward": scored.rewards_G[sample],
                "advantage": group.advantages_G[sample],
                "learns": admitted and group.learns_G[sample],
            }
        )
    return rows
