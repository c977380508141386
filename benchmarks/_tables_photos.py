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
