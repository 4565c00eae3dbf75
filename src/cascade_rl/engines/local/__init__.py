"""The one-machine engine: one learner, three objectives, its own sampler."""
