"""The program's own cost of a conversion: one xfer2 each, and hundreds in one ioctl.

The real spidev on a device that answers at once (null_spi.c, preloaded); on a Pi the bus itself
adds about 34 µs a conversion in either case.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import json, time
from pathlib import Path
from meterd import acquire
adc = acquire.open_spidev(0, 0, 1_350_000, bufsiz_path=Path({bufsiz!r}))
found = {{}}
for batch, conversions in ((510, 510), (32, 32), (1, 32)):
    adc.batch_size = batch
    tx = acquire.frames((0, 1), conversions)
    best = None
    for _ in range(7):
        begun_ns = time.process_time_ns()
        for _ in range(200):
            acquire.codes(adc.transfer(tx))
        taken = (time.process_time_ns() - begun_ns) / 200 / conversions / 1000
        best = taken if best is None else min(best, taken)
    found[str(batch)] = best
print(json.dumps(found))
"""


def main() -> None:
    """Compile the device, run the three ways and print microseconds a conversion."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("no C compiler: sudo apt-get install gcc")
    with tempfile.TemporaryDirectory() as folder:
        shim = Path(folder) / "null_spi.so"
        source = Path(__file__).with_name("null_spi.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", shim, source], check=True)
        bufsiz = Path(folder) / "bufsiz"
        bufsiz.write_text("65536\n")
        child = subprocess.run(
            [sys.executable, "-c", CHILD.format(bufsiz=str(bufsiz))],
            env=os.environ | {"LD_PRELOAD": str(shim)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    found = json.loads(child.stdout)
    for batch, name in (("1", "plain xfer2"), ("32", "batches of 32"), ("510", "batches of 510")):
        ratio = found["1"] / found[batch]
        print(f"{name:16} {found[batch]:8.4f} µs a conversion   1/{ratio:.0f} of plain")


if __name__ == "__main__":
    main()
