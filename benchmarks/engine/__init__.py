"""Speed of the local engine beside TRL's GRPOTrainer on the same model, prompts and rewards."""
