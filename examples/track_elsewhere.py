"""Send the rows of a run anywhere: a sink is two methods.

Run: python examples/track_elsewhere.py DATA RUN
"""

import sys
from pathlib import Path

from softonce import TrainConfig, train


class Printer:
    """Prints what a tracker would receive."""

    def write(self, row):  # every row of metrics.jsonl
        print({name: row[name] for name in ("epoch", "split", "top1") if name in row})

    def close(self):
        print("done")


if __name__ == "__main__":
    data, run = map(Path, sys.argv[1:])
    train(TrainConfig(data, output=run, epochs=2), sinks=[Printer()])
