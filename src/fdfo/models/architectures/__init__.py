"""Architectures of published models, as in their repositories: plans and benchmarks then need no download.

Only the fields that decide shapes and sizes, as in the `config.json` files of the named hub repositories; where those
could not be read, as public loaders and converters restate them. The tests hold each network to the number of
parameters that is published.
"""

from collections.abc import Mapping

from fdfo.models.architectures.further import FURTHER
from fdfo.models.architectures.parts import Files
from fdfo.models.architectures.popular import POPULAR

ARCHITECTURES: Mapping[str, Files] = {**POPULAR, **FURTHER}
