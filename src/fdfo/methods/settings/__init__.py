"""The settings of every method, apart from its code: reading them loads no torch."""
