"""CPU per second of signal, ours and pqopen-lib's, in one run on the same samples."""

from __future__ import annotations

import sys
from pathlib import Path

SEED = 1
SECONDS = 20.0


def main() -> None:
    """Measure and print; needs the extra ``accuracy``."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, bench is no package yet
    import numpy as np

    from bench.accuracy import beside, signals
    from bench.accuracy.sampling import direct

    signal = signals.circuit(10.0, 0.5, distorted=True)
    blocks = list(direct(signal.mains, SECONDS, np.random.default_rng(SEED)))
    try:
        taken_ms = beside.cpu(blocks, SECONDS)
    except ImportError as missing:
        sys.exit(f"{missing.name} is not installed: .venv/bin/pip install -e '.[accuracy]'")
    for name, each_ms in taken_ms.items():
        print(f"{name:16} {each_ms:6.2f} ms of CPU a second of signal")
    print(f"pqopen-lib / ours {taken_ms['pqopen-lib'] / taken_ms[beside.OURS]:5.1f}")


if __name__ == "__main__":
    main()
