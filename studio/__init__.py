"""Head avatar studio: what every room of the house shares."""

import os

# A busy neighbour makes spinning OpenMP threads up to 70 times slower on small operations; this must be set before
# torch is first imported, and every other package imports this one first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
