"""Rows in and out: what a stage trains on and a benchmark asks, in verl's own schema."""
