"""The cluster engine: a stage as one job of verl on Ray, with our rows, verifiers and rewards.

The rule: verl is used as it is, through the places it keeps for its users. What it has no place
for is in `patches`, one function a bug. Only modules that run inside the job import verl and Ray.
"""

PARENT = "CASCADE_VERL_PARENT"
"""In a job's environment: the process id of its driver."""
OWN_RAY = "CASCADE_VERL_OWN_RAY"
"""In a job's environment: that its Ray is on this machine's processors, and nobody else's."""
