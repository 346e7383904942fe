"""Optional dependencies: name the extra to install when a part of the package needs it."""

from importlib.util import find_spec

from imagelab.core.errors import MissingExtra


def require(extra: str, *modules: str) -> None:
    """Check that ``modules`` are installed, without importing them.

    Raises
    ------
    MissingExtra
        With the command that installs ``extra``, which pyproject.toml defines.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtra(f"{', '.join(missing)} not installed. Install with: pip install 'imagelab[{extra}]'")
