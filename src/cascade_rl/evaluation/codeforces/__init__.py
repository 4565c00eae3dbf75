"""A Codeforces rating: where a model's answers would have ranked it among the humans of contests.

Nemotron-Cascade (arXiv 2512.13607), appendix E, on CodeElo (arXiv 2501.01257). `files` reads
contests (`public` what Codeforces' own API answers), `attempts` an evaluation, `scoring` makes
points and penalties of both, `rating` a rank and a performance, `summary` the mean over contests,
`percentile` what share of humans is under it. `synthetic` makes contests and players whose rating
is known.
"""
