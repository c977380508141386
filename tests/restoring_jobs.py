"""A server of tiny restoration jobs for the tests of faults: each in a process of its own, forked after the imports.

Reads one JSON object a line: out (folder), photos (folder), kill_at (operation at which the process kills itself, or
null), kill_after (seconds after which it does, or null), share ([index, count], or null), samples (of each picture).
Answers with the exit status, negative for a signal, what the job did, how
many devices and operations there were: files opened for writing, renamed or removed, and calls of the compiled step.
"""

import dataclasses
import json
import os
import signal
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp

import reddiff_jax as rd
from reddiff_jax import jobs

OPTIONS = jobs.Options(
    task="denoise", sigma=0.1, solver="noise_aware", changes={"num_steps": 6}, batch_size=4, seed=3, exact_sizes=True
)


def predict(x_t, t, cond):
    """Some function of a neighbourhood that rounds differently in every order of its sums."""
    kernel = jnp.cos(jnp.arange(5 * 5 * 3 * 3).reshape(5, 5, 3, 3) + 1.0) / 20
    features = jax.lax.conv_general_dilated(
        x_t[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.tanh(features[0]) + x_t / (1 + jnp.mean(x_t**2))


def work(job):
    operations = 0

    def count():
        nonlocal operations
        operations += 1
        if operations == job["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event, args):
        if event in ("os.rename", "os.remove") or (event == "open" and str(args[0]).startswith(job["out"])):
            count()

    def report(event):
        if event.kind == "step":
            count()

    sys.addaudithook(audit)
    share = None if job["share"] is None else jobs.Share(*job["share"])
    prior = rd.prior(predict, rd.schedules.linear())
    options = dataclasses.replace(OPTIONS, samples=job["samples"])
    if job["kill_after"] is not None:
        timer = threading.Timer(job["kill_after"], os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    try:
        outcome = jobs.restore([job["photos"]], prior, out=job["out"], options=options, share=share, report=report)
    except jobs.JobError as error:
        return {"error": str(error)}
    failed = [failure.name for failure in outcome.failures]
    said = {"failed": failed, "operations": operations, "devices": jax.local_device_count()}
    return {"done": outcome.done, "skipped": outcome.skipped, **said}


def serve():
    for line in sys.stdin:
        job = json.loads(line)
        answer = Path(job["out"] + ".answer")
        answer.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            answer.write_text(json.dumps(work(job)))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = json.loads(answer.read_text()) if status == 0 else {}
        print(json.dumps({"status": status, **said}), flush=True)


if __name__ == "__main__":
    serve()
