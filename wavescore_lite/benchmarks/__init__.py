"""What the package costs, each cost beside the bare arithmetic of the same work, timed in the same run.

A *case* is what is run, its bare counterpart, and the limit that is set to it, if any. `setting` says on what is
measured, `cases` lists the cases, `bare` has the counterparts, `timing` runs both in turns, `memory` looks at a process
of its own, `report` writes it all down. What is in the face, ``__init__.pyi`` lists; each name is imported when it is
first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
