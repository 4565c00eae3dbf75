"""verl's `main_ppo` with our trainer: the settings, by Hydra, and the task runner.

The rule: the settings are verl's own; `settings` is where they come from.
"""

from __future__ import annotations

from typing import Any

import hydra
import ray
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.device import auto_set_device


class Runner(TaskRunnerV1.__ray_metadata__.modified_class):
    """verl's task runner, in a process that knows our trainer."""

    def run(self, config: Any) -> None:
        """Run the stage."""
        from cascade_rl.engines.verl import trainer as trainer  # registers it

        super().run(config)


@hydra.main(config_path="pkg://verl.trainer.config", config_name="ppo_trainer", version_base=None)
def main(config: Any) -> None:
    """Check the settings as verl does, and run."""
    auto_set_device(config)
    validate_config(
        config=config,
        use_reference_policy=need_reference_policy(config),
        use_critic=need_critic(config),
    )
    run_ppo(config, task_runner_class=ray.remote(Runner))
