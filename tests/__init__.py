import os

# As the command line has it; switching these off and on for every prompt would cost more than the prompt.
os.environ.update(TRANSFORMERS_VERBOSITY="error", DIFFUSERS_VERBOSITY="error")
