"""Measurements that can be repeated: each module is run as `make bench BENCH=name`."""
