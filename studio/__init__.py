"""Head avatar studio: what every room of the house shares."""

import os

# A busy neighbour makes spinning OpenMP threads up to 70 times slower on small operations; this must be set before
# torch is first imported, and every other package imports this one first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Our kernels bring their own threads; what is left to torch is many small operations, whose threads wait for each
# other: on two busy cores a training step took 350 ms with two of them and 35 ms with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Parameters and their moments are read and written once a step: on large pages that takes four fifths of the time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
