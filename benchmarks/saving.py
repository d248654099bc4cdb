"""What a state within an epoch costs: the seconds that training waits for it, and is slower for it.

    python -m benchmarks.saving --out benchmarks/results/saving.json
    python -m benchmarks.saving --device cuda --model ViT-B-32 --batch-size 1024 --steps 300

A model takes ``--steps`` steps with AdamW on random pairs, without a state and with one after the
first step, in turns. ``copy_s`` is how long a step waits for the copy, ``file_s`` how long it takes to
write the file, and ``cost_s`` how much longer the turns with a state take: the median difference,
the wait for the file included. ``cost_steps`` is that cost in steps. So a state costs less than 3 %
of an epoch that has at least ``epoch_steps`` steps, whatever the length of the measured turns. A
run that is asked to stop waits for ``file_s``: less than 0.5 % of a run of ``run_s`` seconds.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import open_clip
import torch

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.training.saving import StateWriter, copied

EPOCH_SHARE, RUN_SHARE = 0.03, 0.005
"""What a state may cost of an epoch, and a request to stop of a run."""


class Training:
    """Steps of a model on random pairs."""

    def __init__(self, name: str, device: str, batch_size: int) -> None:
        self.model: Any = open_clip.create_model(name, device=device, output_dict=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        self.loss = open_clip.loss.ClipLoss()
        side = self.model.visual.image_size
        side = side if isinstance(side, tuple) else (side, side)
        self.images = torch.randn(batch_size, 3, *side, device=device)
        length = self.model.context_length
        self.texts = torch.randint(1, 999, (batch_size, length), device=device)
        self.device = device

    def step(self) -> None:
        """Take one step."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            self.loss(**self.model(self.images, self.texts)).backward()
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return what a state holds."""
        return {"state_dict": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def turn(self, steps: int, writer: StateWriter | None) -> float:
        """Return the seconds of some steps, with a state after the first if there is a writer."""
        self.synchronize()
        began = time.perf_counter()
        for number in range(steps):
            self.step()
            if writer is not None and number == 0:
                writer.after_step(self.state)
        self.synchronize()
        if writer is not None:
            writer.wait()
        return time.perf_counter() - began

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def measure(training: Training, steps: int, turns: int) -> dict[str, Any]:
    """Return the measurements of turns with and without a state, one after the other."""
    training.turn(2, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "epoch_latest.pt"
        began = time.perf_counter()
        content = copied(training.state())
        copy = time.perf_counter() - began
        began = time.perf_counter()
        StateWriter(path).write_now(content)
        file = time.perf_counter() - began
        size = path.stat().st_size
        pairs = [
            (training.turn(steps, None), training.turn(steps, StateWriter(path, every_steps=1)))
            for _ in range(turns)
        ]
    step = statistics.median(plain for plain, _ in pairs) / steps
    cost = statistics.median(saved - plain for plain, saved in pairs)
    return {
        "steps": steps,
        "step_s": round(step, 4),
        "copy_s": round(copy, 3),
        "file_s": round(file, 3),
        "megabytes": round(size / 1e6),
        "turns_s": [[round(seconds, 2) for seconds in pair] for pair in pairs],
        "cost_s": round(cost, 3),
        "cost_steps": round(cost / step, 2),
        "epoch_steps": math.ceil(max(cost / step, 0) / EPOCH_SHARE),
        "run_s": math.ceil(file / RUN_SHARE),
    }


def main() -> None:
    """Measure, print and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ViT-S-32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out")
    args = parser.parse_args()
    training = Training(args.model, args.device, args.batch_size)
    numbers = {
        "model": args.model,
        "device": args.device,
        "batch_size": args.batch_size,
        **measure(training, args.steps, args.turns),
    }
    print("\n".join(f"{name:<16} {value}" for name, value in numbers.items()))
    if args.out:
        write_json(args.out, {"machine": describe_machine(), **numbers})


if __name__ == "__main__":
    main()
