"""Set before torch is imported: threads that spin while they wait slow small products down on busy machines."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
