"""Sources yield `Sample`s with stable keys. One kind is one file; the folder is the registry.

A source has `root`, the folder below which its files lie (None: it has none, or is no folder), which is also a knob of
that name; `__iter__`, twice the same; and, if it has images, `read`, which makes of a location in the plan the image's
bytes or its file, and of a location outside the root a SourceError. `read` is called from several threads.
"""
