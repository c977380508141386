"""A process that runs restoration jobs, each in a process of its own that may be killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class Server:
    """Runs jobs in processes of their own."""

    def __init__(self, cache, devices=1):
        settings = {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        self.process = subprocess.Popen(
            [sys.executable, HERE / "restoring_jobs.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **settings},
        )

    def start(self, photos, out, *, kill_at=None, kill_after=None, share=None, samples=1):
        """Begins a job; see ``restoring_jobs``."""
        job = {"photos": str(photos), "out": str(out), "kill_at": kill_at, "share": share}
        job |= {"kill_after": kill_after, "samples": samples}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def run(self, *args, **options):
        self.start(*args, **options)
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
