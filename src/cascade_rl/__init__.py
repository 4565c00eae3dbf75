"""Cascade RL: SFT, then reinforcement learning one domain after another."""
