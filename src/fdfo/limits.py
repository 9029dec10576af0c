"""The largest numbers that make sense, in configurations, options of scores and commands.

Beyond them nothing works, or nothing differs any more: they catch a slip of the keyboard before it becomes a run
without end, or an error of a library.
"""

MOST_STEPS = 1000
"""Schedulers know 1000 times."""
MOST_IMAGES = 4096
"""Most images of one prompt: a hundred times as many as methods compare."""
MOST = 9_999_999
"""Epochs are numbered by seven digits in the names of files; no list of prompts is longer."""
MOST_PROMPTS = 1_000_000
"""Of code that gives prompts, maybe without end: more than any published list has; a few seconds to read."""
MOST_PIXELS = 16384
"""A side: 3 GB an image as float32."""
MOST_RANK = 4096
"""As wide as the layers of the largest models: an adapter of full rank."""
MOST_TOKENS = 4096
"""Eight times what T5 was trained on."""
MOST_SECONDS = 1e7
"""Four months."""
MOST_GUIDANCE = 100.0
"""Ten times what saturates every image."""
MOST_STRENGTH = 100.0
"""Largest strength of an adapter, which was trained at 1, on either side of zero."""
LARGEST = 1e6
"""Largest weight or limit: products with float32 numbers stay far from overflow."""
LARGEST_SCORE = 1e12
"""Largest threshold of a score, which may have a large offset."""
MOST_PROCESSES = 1024
"""Most processes at the same time, or requests to one server."""
MOST_LOGPROBS = 1000
"""Servers give 20 and rarely more."""
LARGEST_BUDGET = 1e12
"""Network evaluations: 30 000 years of an H200."""
LONGEST_PLACE = 4096
"""Characters of a path or of a name on the hub: no system takes more."""
LARGEST_SEED = 2**63 - 1
"""The largest integer that every library takes for a seed."""
