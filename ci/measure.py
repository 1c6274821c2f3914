"""Wall time and peak memory of a command: `python -m ci.measure COMMAND …`.

The peak is the largest resident memory of the command or any of its children, as the kernel counts it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time


def main() -> int:
    start = time.perf_counter()
    code = subprocess.run(sys.argv[1:]).returncode
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{seconds:.1f} s, peak memory {peak_mb:.0f} MB", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
