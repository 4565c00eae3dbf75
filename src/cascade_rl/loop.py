"""THE loop of Cascade RL: for each stage of the plan, train, commit, evaluate, gate.

    for stage in plan:                    SFT, RLHF, IF-RL, math RL, code RL, SWE RL
        train from where the parent ended     (skipped where it is already done)
        evaluate every benchmark              (the ledger: what was gained, what was forgotten)
        gate                                  (warn, stop, or roll back and plan again)

One rule: what is finished is never trained again, so the same command continues after anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cascade_rl.config import BenchmarkConfig, CascadeRLConfig
from cascade_rl.digests import weights_digest
from cascade_rl.engines.base import Engine, Evaluate, EvaluationJob
from cascade_rl.errors import ConfigError, GateFailed
from cascade_rl.evaluation.benchmarks import parts_of, verifier_of
from cascade_rl.evaluation.ledger import build_ledger, drops
from cascade_rl.graph import Plan, PlannedStage, StartModel
from cascade_rl.plan import Protocols, make_plan, protocols
from cascade_rl.store import Store
from cascade_rl.types import Checkpoint

Engines = Mapping[str, Engine]


def run_cascade(
    config: CascadeRLConfig, store: Store, engines: Engines, only: Sequence[str] = ()
) -> Checkpoint:
    """Train what is not done yet, each stage from where its parent ended.

    `only` names stages or families to run; the others must be finished already where they are
    needed. Returns the last policy's checkpoint. Raises GateFailed where a gate stops.
    """
    plan = make_plan(config, store.rolled_back())
    benchmarks = protocols(config)
    store.record_plan(plan, [(b.name, digest) for b, digest in benchmarks])
    check_selection(plan, store, only)
    for stage in selected(plan, only):
        engine = engines[stage.engine]
        if not store.committed(plan, stage):
            if not answers_for_its_start(plan, stage):
                evaluate_missing(plan, plan.start, benchmarks, engine, store)
            job = store.job(
                plan,
                stage,
                midway(plan, stage, benchmarks, engine, store),
                expected(plan, stage, benchmarks, store),
                expected(plan, plan.start, benchmarks, store),
            )
            with store.timed(stage.name, "training"):
                checkpoint = engine.train(job, store.workspace(stage))
            store.commit(plan, stage, checkpoint)
        evaluate_missing(plan, plan.start, benchmarks, engine, store)
        if stage.role == "policy":
            evaluate_missing(plan, stage, benchmarks, engine, store)
            if not passes(stage, store):
                return run_cascade(config, store, engines, only)
    done = [s for s in plan.policies() if store.committed(plan, s)]
    return store.checkpoint(done[-1] if done else plan.start)


def selected(plan: Plan, only: Sequence[str]) -> list[PlannedStage]:
    """The stages to run: all, or those named by stage or family."""
    names = {name for wanted in only for name in plan.config.select(wanted)}
    return [s for s in plan.stages if not only or s.name in names]


def check_selection(plan: Plan, store: Store, only: Sequence[str]) -> None:
    """Refuse to start where a stage that is needed is neither finished nor selected."""
    chosen = {s.key for s in selected(plan, only)}
    for stage in selected(plan, only):
        for key in (stage.parent, *stage.inputs.values()):
            needed = plan.by_key(key)
            if isinstance(needed, StartModel) or key in chosen or store.committed(plan, needed):
                continue
            raise ConfigError(
                f"stage {stage.name} needs {needed.name}, which is not finished here",
                hint=f"run it too:  --stages {needed.name},{','.join(only)}",
            )


def evaluate_missing(
    plan: Plan,
    stage: PlannedStage | StartModel,
    benchmarks: Protocols,
    engine: Engine,
    store: Store,
) -> None:
    """Evaluate every benchmark that this stage has no complete result for."""
    missing = [
        (benchmark, digest)
        for benchmark, digest in benchmarks
        if store.evaluation(stage.name, stage.key, benchmark.name, digest) is None
    ]
    if not missing:
        return
    checkpoint = store.checkpoint(stage)
    with store.timed(stage.name, "evaluation"):
        for benchmark, digest in missing:
            path = store.evaluation_file(stage.name, stage.key, benchmark.name, digest)
            evaluate_one(plan, checkpoint, benchmark, path, engine, store)


def look_at_test(config: CascadeRLConfig, store: Store, engines: Engines) -> None:
    """Evaluate the start model and every finished policy on the test split, and record the look."""
    plan = make_plan(config, store.rolled_back())
    benchmarks = protocols(config, "test")
    if not benchmarks:
        raise ConfigError(
            "no benchmark of this config has a test_file", hint="add  test_file: FILE  to them"
        )
    store.record_look(plan, [(b.name, digest) for b, digest in benchmarks])
    finished = [s for s in plan.policies() if store.committed(plan, s)]
    evaluate_missing(plan, plan.start, benchmarks, engines[plan.stages[0].engine], store)
    for stage in finished:
        evaluate_missing(plan, stage, benchmarks, engines[stage.engine], store)


def evaluate_one(
    plan: Plan,
    checkpoint: Checkpoint,
    benchmark: BenchmarkConfig,
    path: Path,
    engine: Engine,
    store: Store,
) -> None:
    """One benchmark on one model into one file."""
    job = evaluation_job(plan, benchmark, store)
    header = {
        "benchmark": benchmark.model_dump(mode="json"),
        "weights_digest": checkpoint.weights_digest,
        "parts": parts_of(job.problems),
    }
    store.write_evaluation(path, header, engine.evaluate(checkpoint, job))


def evaluation_job(plan: Plan, benchmark: BenchmarkConfig, store: Store) -> EvaluationJob:
    """A benchmark with its problems."""
    return EvaluationJob(
        benchmark=benchmark,
        problems=store.problems(benchmark.file, plan.config.data_seed, benchmark.limit),
        verifier=verifier_of(benchmark),
        chat=plan.config.chat,
        local=plan.config.local,
    )


def answers_for_its_start(plan: Plan, stage: PlannedStage) -> bool:
    """Whether the stage's job is the first to have the start model's weights on a cluster."""
    return stage.engine == "verl" and stage.config.kind == "rl" and stage.parent == plan.start.key


def expected(
    plan: Plan, model: PlannedStage | StartModel, benchmarks: Protocols, store: Store
) -> Callable[[], list[EvaluationJob]]:
    """What a policy will be asked and was not asked yet; problems are read when it is called."""
    asked = [
        benchmark
        for benchmark, digest in benchmarks
        if model.role == "policy"
        and store.evaluation(model.name, model.key, benchmark.name, digest) is None
    ]
    return lambda: [evaluation_job(plan, benchmark, store) for benchmark in asked]


def midway(
    plan: Plan, stage: PlannedStage, benchmarks: Protocols, engine: Engine, store: Store
) -> Evaluate:
    """What a stage calls every `eval_every` steps: the same evaluations, in a folder a step."""

    def evaluate(step: int, model: Path) -> None:
        checkpoint = Checkpoint(stage.key, step, model, weights_digest(model))
        for benchmark, digest in benchmarks:
            final = store.evaluation_file(stage.name, stage.key, benchmark.name, digest)
            path = final.parent / f"step-{step:06d}" / final.name
            if not path.exists():
                evaluate_one(plan, checkpoint, benchmark, path, engine, store)

    return evaluate


def passes(stage: PlannedStage, store: Store) -> bool:
    """Whether the cascade goes on from this stage; False where it was rolled back."""
    gate = stage.config.gate
    if gate is None:
        return True
    found = drops(build_ledger(store.scores()), stage.name, gate.max_drop, gate.benchmarks)
    if not found or gate.action == "warn":
        _warn(store, stage, map(str, found))
        return True
    reasons = [str(drop) for drop in found]
    if gate.action == "rollback":
        store.roll_back(stage, reasons)
        _warn(store, stage, [f"{reason}: rolled back" for reason in reasons])
        return False
    raise GateFailed(
        f"gate after {stage.name}: " + "; ".join(reasons),
        hint=f"change the stage, or let it pass:  --set {stage.name}.gate.action=warn",
    )


def _warn(store: Store, stage: PlannedStage, reasons: Iterable[str]) -> None:
    for reason in reasons:
        store.tell(stage.name, {"kind": "gate", "message": reason})
