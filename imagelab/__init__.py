"""imagelab: why a container image is big, slow to build or full of findings.

``__init__.pyi`` lists the public names; each loads its module when it is first used, so that ``import imagelab`` costs next to
nothing. ``from imagelab import charts, widgets`` loads what draws.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
