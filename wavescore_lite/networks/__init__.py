"""Trained denoisers to compare with: their designs, their weights, and how they are trained.

`designs` names them without importing torch. What is in the face, ``__init__.pyi`` lists; each name is imported when it
is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
