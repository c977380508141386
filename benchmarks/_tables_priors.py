"""Tables of the bundled priors."""

from benchmarks._tables import HIDDEN, load, markdown, measured_on


def denoising() -> str:
    result = load("denoising")
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in result["rows"]:
        if row["what"] == "denoising":
            cells = rows.setdefault((row["pictures"], row["method"]), {"": row["method"], "photos": row["pictures"]})
            cells[f"sigma {row['sigma']}"] = f"{row['PSNR']:.2f} dB, {row['SSIM']:.3f}"
            cells.pop("ms a picture", None)  # to be the last column
            cells["ms a picture"] = f"{row['ms a picture']:.0f}"
    table = list(rows.values())
    size = result["settings"]["size"]
    names = {row["method"] for row in result["rows"] if row["what"] == "denoising"}
    bm3d = " BM3D: Mäkinen, Azzari, Foi 2020 (non-commercial licence; installed for this comparison only)."
    return (
        markdown(table, list(table[0]))
        + measured_on(result, f"{len(result['settings']['pictures'])} photos of {size} x {size}, one at a time")
        + (bm3d if "BM3D" in names else "")
    )


def eps_loss() -> str:
    result = load("denoising")
    rows: dict[str, dict[str, str]] = {}
    for row in result["rows"]:
        if row["what"] == "eps loss":
            rows.setdefault(row["prior"], {"prior": row["prior"]})[f"t = {row['timestep']}"] = f"{row['loss']:.3g}"
    table = list(rows.values())
    return markdown(table, list(table[0])) + measured_on(result, "pictures that were not trained on")


def architectures() -> str:
    result = load("architectures")
    times = {row["network"]: row for row in result["rows"] if row["what"] == "time"}
    rows = []
    for row in result["rows"]:
        if row["what"] == "quality":
            cost = times[row["network"]]
            cells = {"network": f"`{row['network']}`", "objective": row["objective"], "updates": row["updates"]}
            cells |= {"parameters": f"{cost['parameters'] / 1e6:.1f} M", "ms": f"{cost['ms, 256 x 256']:.0f}"}
            measured = [name for name in row if name not in (*HIDDEN, "what", "network", "objective", "updates")]
            rows.append(cells | {name: f"{row[name]:.2f}" for name in measured})
    minutes = result["settings"]["minutes"]
    return markdown(rows, list(rows[0])) + measured_on(result, f"{minutes:g} minutes of one core each, PSNR in dB")


def emoji64() -> str:
    result = load("emoji64")
    memory, halves = (
        [{key: value for key, value in row.items() if key != "what"} for row in result["rows"] if row["what"] == what]
        for what in ("distance to the nearest training picture", "half a face")
    )
    tables = [markdown(rows, [name for name in rows[0] if name not in HIDDEN]) for rows in (memory, halves)]
    settings = result["settings"]
    note = measured_on(result, f"{settings['samples']} samples, {settings['steps']} steps, sigma {settings['sigma']}")
    return "\n\n".join(tables) + note
