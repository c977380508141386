"""Code that runs in a process of its own, which gets only so much more memory than it has after its imports."""

import subprocess
import sys
import textwrap

_LIMIT = """
import resource
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {megabytes} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


def run_limited(imports: str, code: str, *arguments: object, megabytes: int = 256, seconds: float = 60) -> str:
    """Runs code under a memory limit and returns what it prints; its errors are the test's."""
    program = textwrap.dedent(imports) + _LIMIT.format(megabytes=megabytes) + textwrap.dedent(code)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
