"""The one way to code that is not ours: scores, methods, models and prompts of a user's file or another package."""
