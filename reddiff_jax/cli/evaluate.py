"""`reddiff-jax evaluate`: restored pictures against their originals."""

from pathlib import Path
from typing import Annotated

import typer

from reddiff_jax.cli._common import FAILED, FAILED_PARTLY, UserError, check_exist, fail, printable, stdout


def evaluate(
    restored: Annotated[Path, typer.Argument(help="Restored picture, or folder of them.", show_default=False)],
    reference: Annotated[Path, typer.Option(help="The original, or folder of originals.", show_default=False)],
    csv: Annotated[Path | None, typer.Option(help="Also write the numbers to this CSV file.")] = None,
) -> None:
    """Measures how near restored pictures are to their originals, paired by name.

    PSNR in dB and SSIM for pixels in [0, 1]: higher is nearer. LPIPS (AlexNet): lower is nearer; it needs
    the extra `lpips` of this package.
    """
    check_exist(restored)
    check_exist(reference)
    from rich.markup import escape
    from rich.table import Table

    from reddiff_jax import jobs

    pairs = jobs.pair(restored, reference)
    scores, failures = jobs.score(pairs.pairs)
    failures += [failure.reason for failure in pairs.failures]
    failures += [f"{path} has no original in {reference}." for path in pairs.without_original]
    failures += [f"{path} has no restored picture in {restored}." for path in pairs.without_restored]
    if csv is not None and scores:
        try:
            jobs.write_scores(csv, scores)
        except OSError as error:
            raise UserError(f"cannot write {csv} ({error.strerror}); choose another file with --csv.") from error
    if scores:
        console = stdout()
        table = Table("picture")
        columns = [name for name in ("psnr", "ssim", "lpips") if any(name in score for _, score in scores)]
        for name in columns:
            table.add_column(name.upper(), justify="right")
        means = {name: jobs.mean(score[name] for _, score in scores if name in score) for name in columns}
        for index, (name, score) in enumerate([*scores, ("mean", means)]):
            cells = (f"{score[each]:.{2 if each == 'psnr' else 4}f}" if each in score else "-" for each in columns)
            table.add_row(escape(printable(name)), *cells, end_section=index == len(scores) - 1)
        console.print(table)
        if "lpips" not in columns:
            console.print('LPIPS left out: pip install "reddiff-jax\\[lpips]" for it.', soft_wrap=True)
    status = FAILED_PARTLY if scores else FAILED
    for reason in failures:
        fail(reason, status)
    if failures:
        raise typer.Exit(status)
