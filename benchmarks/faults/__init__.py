"""Every fault that a run should survive, tried on the embedded model."""
