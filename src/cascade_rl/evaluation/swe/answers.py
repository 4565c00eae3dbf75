"""The answers of a generator, kept on disk as they come: what a killed run had is asked for once.

One rule: an answer's key covers who answers, how it samples, the prompt to the letter and the
answer's number. Another model, temperature or prompt finds nothing of an earlier one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from cascade_rl.data.sft.journal import Journal
from cascade_rl.digests import digest_json
from cascade_rl.engines.generate import Generator, Prompt, Response, Sampling
from cascade_rl.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Answers:
    """A generator behind a journal. `yarn_factor` is how far its context was stretched."""

    generator: Generator
    sampling: Sampling
    journal: Journal
    yarn_factor: float = 1.0

    @property
    def digest(self) -> str:
        """Of who answers, and how."""
        sampling = asdict(self.sampling)
        return digest_json([self.generator.digest, sampling, self.yarn_factor])[:16]

    def ask(self, prompts: Sequence[Prompt]) -> list[list[Response]]:
        """All wanted answers, [prompt][sample] in the order of `samples`.

        Raises EvaluationError where the generator leaves some out, and what it raises itself.
        """
        missing = [
            tuple(n for n in prompt.samples if self._key(prompt, n) not in self.journal)
            for prompt in prompts
        ]
        wanted = [(prompt, samples) for prompt, samples in zip(prompts, missing, strict=True)]
        asked = [replace(prompt, samples=samples) for prompt, samples in wanted if samples]
        for response in self.generator.generate(asked, self.sampling) if asked else ():
            key = self._key(asked[response.prompt], response.sample)
            self.journal.put(key, {**asdict(response), "prompt": asked[response.prompt].id})
        return [
            [self._kept(prompt, index, n) for n in prompt.samples]
            for index, prompt in enumerate(prompts)
        ]

    def _key(self, prompt: Prompt, sample: int) -> str:
        asked = asdict(replace(prompt, samples=(sample,)))
        return digest_json([self.digest, asked])

    def _kept(self, prompt: Prompt, index: int, sample: int) -> Response:
        found = self.journal.get(self._key(prompt, sample))
        if found is None:
            raise EvaluationError(
                f"{self.generator.name} gave no answer {sample} to {prompt.id}",
                hint="what it answered is kept: run the same command to ask for the rest",
            )
        fields = {name: value for name, value in found.items() if name != "key"}
        return Response(**{**fields, "prompt": index})
