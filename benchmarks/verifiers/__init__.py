"""The verifiers against their peers: rates, in turns on one core, each with the ratio asked for."""
