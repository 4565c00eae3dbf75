"""How a model is judged after every stage, and what the cascade gained and forgot.

`benchmarks` says what is run, `metrics` is the arithmetic, `ledger` the stage-by-benchmark
matrix, `compare` one model against its parent at each one's best setting. Everything here is
pure: samples in, numbers out; engines sample and the store keeps.
"""
