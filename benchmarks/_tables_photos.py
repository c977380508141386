"""Tables of what concerns a user's own photos: noise levels and borders."""

from benchmarks._tables import load, markdown, measured_on


def noise_levels() -> str:
    result = load("sigma")
    table = [
        {
            "pictures": f"{row['pictures']}, {row['size']} px",
            "sigma": f"{row['sigma']:g}",
            "details, mean error": f"{row['details, mean error %']:+.0f} %",
            "prior, mean error": f"{row['prior, mean error %']:+.0f} %",
            "prior, largest error": f"{row['prior, largest error %']:.0f} %",
            "within 15 %": row["within 15 %"],
        }
        for row in result["rows"]
        if row["what"] == "estimates"
    ]
    return markdown(table, list(table[0])) + measured_on(result, "square pictures of 8 bits")


def noise_levels_denoising() -> str:
    result = load("sigma")
    table = [
        {
            "picture": row["pictures"],
            "sigma": f"{row['sigma']:g}",
            "estimate": f"{row['estimate']:.3f}",
            "PSNR with sigma": f"{row['PSNR, true']:.2f}",
            "PSNR with the estimate": f"{row['PSNR, estimate']:.2f}",
        }
        for row in result["rows"]
        if row["what"] == "denoising"
    ]
    return markdown(table, list(table[0])) + measured_on(result, "denoised by the default solver")


def views() -> str:
    result = load("views")
    cells = {(row["method"], row["sigma"]): row for row in result["rows"]}
    sigmas = dict.fromkeys(sigma for _, sigma in cells)
    table = []
    for method in dict.fromkeys(method for method, _ in cells):
        name, evaluations = method.rsplit(", ", 1)
        row = {"method": "`rd.tweedie`" if name == "tweedie" else name, "evaluations": evaluations}
        for sigma in sigmas:
            cell = cells[method, sigma]
            row[f"sigma {sigma:g}"] = f"{cell['psnr']:.2f} / {cell['lpips']:.4f}"
        table.append(row)
    how = (
        f"PSNR in dB / LPIPS, means over {len(result['settings']['photos'])} photos of {result['settings']['size']} px"
    )
    return markdown(table, list(table[0])) + measured_on(result, how)


def borders() -> str:
    result = load("borders")
    names = {
        "blurred": "the blurred picture",
        "wiener": "Wiener, best balance",
        "richardson_lucy": "Richardson-Lucy, best count",
        "circular": "noise-aware RED-diff, circular border",
        "reflect": "noise-aware RED-diff, reflected border",
        "unknown": "noise-aware RED-diff, unknown border",
    }
    cases: dict[tuple[str, int], dict[str, float]] = {}
    for row in result["rows"]:
        cases.setdefault((row["kernel"], row["size"]), {})[row["method"]] = row["PSNR"]
    table = [
        {"method": name, **{f"`{kernel}`, {size} px": f"{cases[kernel, size][key]:.1f}" for kernel, size in cases}}
        for key, name in names.items()
    ]
    return markdown(table, list(table[0])) + measured_on(result, f"{len(result['settings']['pictures'])} photos, dB")


def growing() -> str:
    result = load("growing")
    names = {None: "PNG", 75: "JPEG, quality 75"}
    cells = {(row["quality"], row["growth"]): row["psnr"] for row in result["rows"]}
    table = [
        {"holes grown by": f"{growth} px", **{name: f"{cells[quality, growth]:.1f}" for quality, name in names.items()}}
        for growth in dict.fromkeys(growth for _, growth in cells)
    ]
    size, around = result["settings"]["size"], result["settings"]["around"]
    how = f"dB within {around} pixels of the strokes, means over {len(result['rows'][0]['photos'])} photos of {size} px"
    return markdown(table, list(table[0])) + measured_on(result, how)


def regions() -> str:
    result = load("regions")
    rows = [row for row in result["rows"] if row["what"] == "shares"]
    table = [
        {
            "picture": f"{row['width']} x {row['height']}",
            "scratches": str(row["scratches"]),
            "missing": f"{row['missing %']:.2g} %",
            "windows": f"{row['windows']} of {row['side']} px",
            "pixels restored": f"{row['pixels %']:.0f} %",
        }
        for row in rows
    ]
    return markdown(table, list(table[0])) + measured_on(result, "scratches of 4 pixels; windows overlap")


def regions_cost() -> str:
    result = load("regions")
    row = next(row for row in result["rows"] if row["what"] == "cost")
    table = [
        {
            "restored": said,
            "CPU seconds": f"{row[f'{name}, CPU s']:.0f}",
            "PSNR of what was missing": f"{row[f'{name}, PSNR']:.1f}",
        }
        for name, said in (("whole", "the whole picture"), ("windows", f"{row['windows, number']} windows"))
    ]
    side = row["side"]
    return markdown(table, list(table[0])) + measured_on(
        result, f"{row['picture']}, {side} x {side}, not the wall clock"
    )
