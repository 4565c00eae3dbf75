"""Repairing real repositories, and picking one repair of many: the papers' Agentless-mini pipeline.

The path of an issue, each file using only those before it:

`instances` and `repository` read the issues and the files they are about; `localize` says which
files have to change, by asking a model and by `retrieval` (or `embeddings`), fused; `repair` makes
the prompt; `edits` reads the answers; `execute` runs programs beside a repository, in the sandbox
and nowhere else; `validate` gathers what speaks for each edit, `judge` what is true of it;
`select` says how good picking one of k is. `pipeline` does all of it for a few issues, `run` for
many, and can be killed.
"""
