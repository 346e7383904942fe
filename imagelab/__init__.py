"""imagelab: why a container image is big, slow to build or full of findings.

The names that people use stand in ``__init__.pyi``, and each loads its room when it is first used: ``import imagelab``
costs next to nothing. ``from imagelab import charts, widgets`` loads the rooms that draw.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
