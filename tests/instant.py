"""A solver of batches for tests of what is around it."""

from types import SimpleNamespace

import numpy as np


class Instant:
    """A solver of denoising that compiles nothing and gives the measurement back."""

    num_devices, compile_seconds = 1, 0.0

    def __init__(self, solver, problem, *, batch_size, steps_per_call, **options):
        self.batch_size, self.steps_per_call, self.num_steps = batch_size, steps_per_call, solver.num_steps

    def __call__(self, keys, problems, on_step):
        ys = [np.asarray(problem.y) for problem in problems if problem is not None]
        on_step(self.num_steps, {}, lambda slot: ys[0])
        return SimpleNamespace(
            x=np.stack([ys[0] if problem is None else np.asarray(problem.y) for problem in problems])
        )

    def rms_residuals(self, problems, xs):
        return np.zeros(len(problems))
