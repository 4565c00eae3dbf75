"""Training engines. The seam is the stage: a job in, a checkpoint out (`base.Engine`)."""
