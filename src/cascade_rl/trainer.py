"""The Python face of a cascade, and what the command line calls: `CascadedRLTrainer(...).fit()`.

One rule: it runs `loop.run_cascade` and nothing else, so the API and `cascade run` cannot differ.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.engines.base import Engine
from cascade_rl.errors import ConfigError
from cascade_rl.loop import look_at_test, run_cascade
from cascade_rl.plan import make_plan, start_model
from cascade_rl.sandbox.client import UNSAFE_VARIABLE, default_sandbox
from cascade_rl.store import Listener, Store
from cascade_rl.types import Checkpoint


class CascadedRLTrainer:
    """Train a whole cascade.

    `tokenizer`, where given, must have the start model's vocabulary. `role_worker_mapping` and
    `resource_pool_manager` are verl's and optional. For stages on verl the pool says how many nodes
    and GPUs there are, in the place of `config.verl`; a job makes its workers itself, so that the
    mapping is taken and not looked at. The local engine has no use for either.
    `output` defaults to the config's `cascade_checkpoint_dir`.
    """

    def __init__(
        self,
        cascade_config: CascadeRLConfig,
        tokenizer: Any = None,
        role_worker_mapping: Any = None,
        resource_pool_manager: Any = None,
        *,
        output: Path | str | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        target = output or cascade_config.cascade_checkpoint_dir
        if target is None:
            raise ConfigError(
                "there is nowhere to write: no output directory was given",
                hint='CascadeRLConfig(..., cascade_checkpoint_dir="./checkpoints")',
            )
        self.config = pooled(cascade_config, resource_pool_manager)
        self.tokenizer = tokenizer
        self.output = Path(target)
        self.listeners = listeners

    def fit(self, only: Sequence[str] = (), resume: str | None = None) -> Checkpoint:
        """Run the cascade from wherever it stands and return its last policy.

        `only` restricts it to stages or families; `resume` trains that stage or family and
        everything that depends on it again, keeping the old ones in `stages/replaced/`.
        Raises KeyboardInterrupt after saving when interrupted or told to end (SIGTERM).
        """
        refuse_weak_sandbox(self.config)
        engines = make_engines(self.config)
        with Store(self.output, self.listeners) as store, saving_on_interrupt(store):
            if self.tokenizer is not None:
                self._check_vocabulary(store.start(start_model(self.config)).path)
            if resume is not None:
                plan = make_plan(self.config, store.rolled_back())
                store.replace(plan.dependents(set(self.config.select(resume))))
            try:
                return run_cascade(self.config, store, engines, only)
            finally:
                for engine in engines.values():
                    engine.close()

    def look_at_test(self) -> None:
        """Evaluate every finished policy on the test split; the look is recorded."""
        engines = make_engines(self.config)
        with Store(self.output, self.listeners) as store, saving_on_interrupt(store):
            try:
                look_at_test(self.config, store, engines)
            finally:
                for engine in engines.values():
                    engine.close()

    def _check_vocabulary(self, model: Path) -> None:
        """Refuse a tokenizer whose vocabulary is not the start model's."""
        from cascade_rl.engines.local.model import load_tokenizer

        own = load_tokenizer(model, self.config.chat).get_vocab()
        given = self.tokenizer.get_vocab()
        if own != given:
            raise ConfigError(
                f"the tokenizer given has {len(given)} entries and differs from that of {model} "
                f"({len(own)} entries)",
                hint="leave tokenizer out, or pass the one saved with the model",
            )


def pooled(config: CascadeRLConfig, manager: Any) -> CascadeRLConfig:
    """The config with the nodes and GPUs of verl's `ResourcePoolManager`; as it is without one.

    Raises ConfigError where a stage runs on verl and the pools are not one, alike on every node.
    """
    on_verl = any((stage.engine or config.engine) == "verl" for stage in config.stages)
    if manager is None or not on_verl:
        return config
    spec = getattr(manager, "resource_pool_spec", None)
    pools = [list(pool) for pool in spec.values()] if isinstance(spec, Mapping) else []
    if len(pools) != 1 or len(set(pools[0])) != 1:
        raise ConfigError(
            f"resource_pool_manager has resource_pool_spec {spec!r}; expected one pool, with as "
            "many GPUs on every node",
            hint='for example  {"global_pool": [8, 8]},  or leave it out and set  config.verl',
        )
    [gpus] = pools
    machine = {"nodes": len(gpus), "gpus_per_node": gpus[0]}
    return config.model_copy(update={"verl": config.verl.model_copy(update=machine)})


def make_engines(config: CascadeRLConfig) -> Mapping[str, Engine]:
    """The engines that this config's stages name. Raises ConfigError for one not installed."""
    from cascade_rl.engines.local.engine import LocalEngine  # torch: only when training

    local = LocalEngine()
    if all((stage.engine or config.engine) == "local" for stage in config.stages):
        return {"local": local}
    from cascade_rl.engines.verl.checks import check_cascade
    from cascade_rl.engines.verl.engine import VerlEngine

    check_cascade(config)
    return {"local": local, "verl": VerlEngine(evaluator=local)}


def refuse_weak_sandbox(config: CascadeRLConfig) -> None:
    """Refuse to run a model's programs where nothing but resource limits would hold them."""
    runs_programs = any(
        isinstance(stage, StageConfig) and stage.domain in ("code", "blend")
        for stage in config.stages
    )
    if config.allow_unsafe_sandbox:
        os.environ[UNSAFE_VARIABLE] = "1"  # the verifiers' processes read it
        return
    if runs_programs and (why := default_sandbox().refusal):
        raise ConfigError(
            f"{why}, and a code stage runs what the model writes",
            hint="see what would raise the tier:  cascade doctor\n  or accept the risk:  "
            "--set allow_unsafe_sandbox=true",
        )


@contextmanager
def saving_on_interrupt(store: Store) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks for a save after the step, the second stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    owner = os.getpid()

    def ask(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and os.getpid() != owner:  # a fork's: it is to end
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if store.stop.is_set():
            raise KeyboardInterrupt
        store.stop.set()
        store.tell("", {"kind": "stopping"})

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
