"""Test-time scaling on problems with subtasks, as at the IOI (arXiv 2512.13607, section 5.1).

Each round generates candidates for one subtask, submits one of them and learns its verdict. The
rule: a submission is on disk before it is judged, so no kill and no failure of ours ever makes
one more than are allowed.
"""
