"""Tables of time and memory."""

from benchmarks import cpu as whole_tasks
from benchmarks._report import RESULTS
from benchmarks._tables import load, markdown, measured_on


def cost() -> str:
    result = load("cost")
    settings = result["settings"]
    rows = [
        {
            "solver": row["solver"],
            "evaluations of the network a step": row["evaluations a step"],
            "derivatives": row["derivatives a step"],
            "ms a step": f"{row['ms a step']:.1f}",
            "times RED-diff's": format(row["times RED-diff's"], ".2f"),
            "peak MiB": f"{row['peak MiB']:.0f}",
            "compile seconds": f"{row['compile seconds']:.1f}",
        }
        for row in result["rows"]
    ]
    size, batch = settings["size"], settings["batch"]
    note = measured_on(result, f"{size} x {size}, batch {batch}, per image, float32, medians of interleaved runs")
    return markdown(rows, list(rows[0])) + note


def memory() -> str:
    """Peak memory of a step, and how many times that of RED-diff it is."""
    result = load("cost")
    least = next(row["peak MiB"] for row in result["rows"] if row["solver"] == "reddiff")
    rows = [
        {
            "solver": row["solver"],
            "derivatives of the network a step": row["derivatives a step"],
            "peak MiB": f"{row['peak MiB']:.0f}",
            "times RED-diff's": f"{row['peak MiB'] / least:.1f}",
        }
        for row in result["rows"]
    ]
    size, batch = result["settings"]["size"], result["settings"]["batch"]
    return markdown(rows, list(rows[0])) + measured_on(result, f"{size} x {size}, batch {batch}, float32")


def vmap() -> str:
    """The network under vmap against the same network written for a batch."""
    result = load("vmap")
    rows = [
        {
            "network": row["with"],
            "GFLOP": f"{row['GFLOP']:.3f}",
            "processor milliseconds": f"{1e3 * row['processor seconds']:.1f}",
            "temporaries in MB": f"{row['temporaries MB']:.2f}",
        }
        for row in result["rows"]
    ]
    size, batch = result["settings"]["size"], result["settings"]["batch"]
    return markdown(rows, list(rows[0])) + measured_on(result, f"{size} x {size}, batch {batch}, medians, in turns")


def solver_speed() -> str:
    result = load("speed")
    cases: dict[tuple, dict[str, dict]] = {}
    for row in result["rows"]:
        case = tuple(row[part] for part in ("network", "size", "dtype", "batch", "devices"))
        cases.setdefault(case, {})[row["with"]] = row
    rows = [_speed_of(case, rivals, cases[*case[:-1], 1]) for case, rivals in cases.items()]
    dtypes = " and ".join(dict.fromkeys(row["dtype"] for row in result["rows"]))
    note = measured_on(result, f"torch {result['settings']['torch']}, {dtypes}, medians of interleaved runs")
    return markdown(rows, list(rows[0])) + note + _scaling(result["rows"])


def _speed_of(case: tuple, ours: dict[str, dict], of_one_device: dict[str, dict]) -> dict[str, str]:
    """A row: seconds per image of each solver, and how many times that of its best rival in PyTorch it is.

    PyTorch has all cores of a CPU, as the devices together have.
    """
    network, size, dtype, batch, devices = case
    cells = {"network": f"{network}, {size} x {size}, {dtype}", "devices": str(devices), "batch": str(batch)}
    cells["batch"] += ", the largest" if any(row.get("largest that fits") for row in ours.values()) else ""
    for method in ("RED-diff", "DPS", "DDRM"):
        rivals = [
            row["seconds per image"]
            for name, row in of_one_device.items()
            if name.startswith(f"{method},") and "JAX" not in name
        ]
        seconds = ours.get(f"{method}, JAX", {}).get("seconds per image")
        times = f" ({seconds / min(rivals):.2f})" if seconds and rivals else ""
        cells[method] = f"{seconds:.3g}{times}" if seconds else ""
    overhead = ours["RED-diff, JAX"].get("overhead")
    return cells | {"overhead": "" if overhead is None else f"{100 * overhead:.1f} %"}


def _scaling(rows: list[dict]) -> str:
    """Says how images per second of RED-diff grow with the batch, and with the devices."""
    said, ours = [], [row for row in rows if row["with"] == "RED-diff, JAX"]
    for network, size, dtype in dict.fromkeys((row["network"], row["size"], row["dtype"]) for row in ours):
        per_second = {
            (row["devices"], row["batch"]): row["images per second"]
            for row in ours
            if (row["network"], row["size"], row["dtype"]) == (network, size, dtype)
        }
        where = f"{network}, {size} x {size}, {dtype}"
        batches = sorted(batch for devices, batch in per_second if devices == 1)
        if len(batches) > 1:
            ratio = per_second[1, batches[-1]] / per_second[1, batches[0]]
            said.append(f"{where}: batch {batches[-1]} gives {ratio:.2f} times the images of batch {batches[0]}")
        for devices in sorted({devices for devices, _ in per_second} - {1}):
            batch = max(batch for count, batch in per_second if count == devices)
            if (1, batch) in per_second:
                ratio = per_second[devices, batch] / per_second[1, batch]
                said.append(f"{where}, batch {batch}: {devices} devices give {ratio:.2f} times the images of one")
    return "\n\n" + "; ".join(said) + "." if said else ""


def compiling() -> str:
    result = load("compiling")
    rows = [
        {
            "network": f"{row['parameters'] / 1e6:.1f} M parameters, {row['size']} x {row['size']}",
            "batch": row["batch"],
            "cache": row["cache"],
            **{part: f"{row[part]:.1f}" for part in ("trace", "lower", "compile", "total")},
        }
        for row in result["rows"]
    ]
    return markdown(rows, list(rows[0])) + measured_on(result, "seconds, medians")


def progress() -> str:
    result = load("progress")
    rows = [
        {
            "size": row["size"],
            "with": row["with"],
            "seconds": f"{row['seconds']:.3g}",
            "slower by": f"{100 * row['slower']:.1f} %",
            "half of the runs between": f"{100 * row['lower quartile']:.1f} and {100 * row['upper quartile']:.1f} %",
        }
        for row in result["rows"]
    ]
    return markdown(rows, list(rows[0])) + measured_on(result, "of the same without a bar, in turns")


def forward() -> str:
    result = load("forward")
    rows = [
        {
            "network": row["network"],
            "size": row["size"],
            "batch": row["batch"],
            "with": row["with"],
            "seconds": f"{row['seconds']:.3g}",
            "times PyTorch's": format(row["times PyTorch's"], ".2f"),
            "processor seconds": f"{row['processor seconds']:.3g}",
            "TFLOP/s": f"{row['TFLOP/s']:.3g}",
            "compile seconds": f"{row['compile seconds']:.1f}" if row["compile seconds"] else "",
        }
        for row in result["rows"]
    ]
    return markdown(rows, list(rows[0])) + measured_on(result, "medians of interleaved runs")


def operators() -> str:
    result = load("operators")
    table: dict[str, dict] = {}
    for row in result["rows"]:
        cell = f"{_duration(row['ours (us)'])} ({row['ratio']:.2g})"
        table.setdefault(row["operator"], {"operator": row["operator"]})[f"{row['what']}, batch {row['batch']}"] = cell
    rows = list(table.values())
    slower = [f"{row['operator']} {row['what']} at batch {row['batch']}" for row in result["rows"] if row["ratio"] > 1]
    size = result["settings"]["size"]
    note = measured_on(
        result, f"{size} x {size}, three channels (MRI two, CT one), float32, medians of interleaved runs"
    )
    return markdown(rows, list(rows[0])) + note + f" Slower than deepinv: {', '.join(slower) or 'none'}."


def _duration(microseconds: float) -> str:
    if microseconds < 1e3:
        return f"{microseconds:.3g} us"
    return f"{microseconds / 1e3:.3g} ms" if microseconds < 1e6 else f"{microseconds / 1e6:.3g} s"


def cpu() -> str:
    """Whole commands, a row for each contestant of a cell, and which goals they meet."""
    if not (RESULTS / "cpu.json").exists():
        return "Not measured yet: `python -m benchmarks.cpu`, about 20 minutes on two idle cores."
    result = load("cpu")
    cells: dict[tuple, dict[str, dict[str, dict]]] = {}
    for row in result["rows"]:
        cell = cells.setdefault((row["task"], row["size"], row["count"]), {})
        cell.setdefault(row["with"], {})[row["turn"]] = row
    rows = []
    for (task, size, count), rivals in cells.items():
        for name, turns in rivals.items():
            cold, last = turns["cold"], turns.get("warm", turns["cold"])
            rows.append(
                {
                    "task": task,
                    "pictures": f"{count} of {size} x {size}",
                    "with": name,
                    "cold, s": f"{cold['seconds']:.1f}",
                    "warm, s": f"{last['seconds']:.1f}",
                    "processor s": f"{last['processor seconds']:.1f}",
                    "peak GB": f"{max(cold['peak GB'], last['peak GB']):.2f}",
                    "PSNR": f"{last['PSNR']:.2f}" if "PSNR" in last else "",
                }
            )
    settings = result["settings"]
    how = f"{settings['steps']} steps, sigma {settings['sigma']}, one run each" if settings["rounds"] == 1 else ""
    how = how or f"{settings['steps']} steps, sigma {settings['sigma']}, medians of {settings['rounds']} runs"
    how += f"; before: commit {settings['before']}" if settings["before"] else ""
    return markdown(rows, list(rows[0])) + measured_on(result, how) + "\n\n" + " ".join(_goals(cells))


def _goals(cells: dict[tuple, dict[str, dict[str, dict]]]) -> list[str]:
    """Each goal with what was reached."""
    goals, said = whole_tasks.GOALS, []
    times = {
        f"{count} of {size}": _fastest(rivals["ours"])
        / min(_fastest(turns) for name, turns in rivals.items() if name.startswith("PyTorch"))
        for (task, size, count), rivals in cells.items()
        if task == "inpaint"
    }
    if times:
        slower = [f"{cell} ({ratio:.2f})" for cell, ratio in times.items() if ratio > goals["times PyTorch's"]]
        reached = f"missed for {', '.join(slower)}" if slower else f"met, at most {max(times.values()):.2f} times"
        said.append(f"Goal, no slower than PyTorch, warm: {reached}.")
    for (task, size, count), rivals in cells.items():
        if (task, size, count) == ("inpaint", 256, 16) and "before" in rivals:
            ratio, goal = _fastest(rivals["before"]) / _fastest(rivals["ours"]), goals["times as fast as before"]
            said.append(
                f"Goal, {goal} times as fast as before for 16 of 256: {_met(ratio >= goal)}, {ratio:.2f} times."
            )
        if (task, size) == ("inpaint", 1024):
            peak, goal = max(turn["peak GB"] for turn in rivals["ours"].values()), goals["peak GB at 1024"]
            said.append(f"Goal, under {goal} GB at 1024 x 1024: {_met(peak < goal)}, {peak:.2f} GB.")
    return said


def _fastest(turns: dict[str, dict]) -> float:
    return min(turn["seconds"] for turn in turns.values())


def _met(reached: bool) -> str:
    return "met" if reached else "missed"
