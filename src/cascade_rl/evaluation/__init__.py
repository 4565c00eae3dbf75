"""How a model is judged after every stage, and what the cascade gained and forgot.

In a run: `benchmarks` says what is run, `ledger` is the stage-by-benchmark matrix, `compare` sets
one model against its parent at each one's best setting. Of any model or server: `measure` asks for
the answers that `answers` does not hold yet, `suite` has the published benchmarks, `passrate`
counts over a file. Each with rules of its own: `codeforces`, `ioi`, `swe`, `arena`, `preferences`.

Arithmetic is pure, samples in and numbers out: `metrics`, `behaviour` (tokens, truncation, modes),
`solved` (problems never solved before). Engines and servers answer, the store keeps.
"""
