"""Commands that need packages of an extra."""

from importlib.util import find_spec

from fdfo.errors import ConfigError, install_advice

_PACKAGES = {"sklearn": "scikit-learn"}
"""Where a package is not called as it is imported."""


def need(command: str, *packages: str) -> None:
    """Raise ConfigError where a package that `command` needs, one of [studio], is not installed."""
    missing = [_PACKAGES.get(name, name) for name in packages if find_spec(name) is None]
    if missing:
        problem = f"fdfo {command} needs {', '.join(missing)}, not installed here; {install_advice(*missing)}"
        raise ConfigError("this environment", [problem])
