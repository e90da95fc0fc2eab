"""Our backends for Triton's Python backend. They run at the server, in its own environment, and nowhere else.

A folder with a ``model.py`` is a backend, under the folder's name. Beside a copy of that file the server's backend
folder holds ``dfcontract`` and this package, whole, so imports read the same there as here. At hand are the standard
library, NumPy (1.26 in NVIDIA's container, 2 in the embedded server) and what the backend is named after.
"""
