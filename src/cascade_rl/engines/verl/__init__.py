"""The cluster engine: a stage as one job of verl on Ray, with our rows, verifiers and rewards.

The rule: verl is used as it is, through the places it keeps for its users. What it has no place
for is in `patches`, one function a bug. Only modules that run inside the job import verl and Ray.
"""
