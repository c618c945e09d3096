"""How like the data samples are: their features, their neighbours and their pixels beside those of real images.

What is in the face, ``__init__.pyi`` lists; each name is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
