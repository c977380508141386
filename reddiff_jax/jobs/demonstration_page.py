"""The page that shows a demonstration in a browser."""

from collections.abc import Sequence
from html import escape

from reddiff_jax import tasks

NEXT = (
    (
        "Fill what you painted white on black in another picture",
        "restore photo.jpg --task inpaint --mask strokes.png --out restored",
    ),
    ("Remove noise whose level you do not know", "restore photo.jpg --task denoise --out restored"),
    ("Enlarge a picture four times", "restore photo.jpg --task bicubic4 --out restored"),
    ("Sharpen a blur that you can describe", "restore photo.jpg --task deblur --kernel gaussian:2.5 --out restored"),
    ("List every task", "info tasks"),
    ("Restore every picture of this page for every task, beside another method", "demo --full"),
)
"""What a newcomer may want to do next, and the command that does it."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
img { max-width: 100%; }
code { background: #f2f2f2; padding: .15rem .35rem; border-radius: .2rem; overflow-wrap: anywhere; }
dt { margin-top: .6rem; } dd { margin: .2rem 0 0 0; }
"""


def page(shown: Sequence[tuple[str, float, str]], whole: bool) -> str:
    """HTML that shows the panel, each task's panel, and what to try next.

    Args:
        shown: Of each task that is done: its name, the noise level, and its panel's address beside the page.
        whole: Whether every task is done; until then the page loads itself again every few seconds.
    """
    reload = "" if whole else '<meta http-equiv="refresh" content="5">\n'
    wait = "" if whole else "<p>More rows come while the demonstration runs.</p>\n"
    links = "\n".join(
        f'<li><a href="{escape(address)}">{escape(task)}</a>, sigma {sigma:g}: {escape(tasks.by_name(task).help)}</li>'
        for task, sigma, address in shown
    )
    commands = "\n".join(
        f"<dt>{escape(what)}:</dt><dd><code>reddiff-jax {command}</code></dd>" for what, command in NEXT
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
{reload}<title>reddiff_jax: demonstration</title>
<style>{_STYLE}</style>
<h1>reddiff_jax: what a diffusion prior restores</h1>
<p>Each row shows an original, what was measured of it, the pseudo-inverse A+ y, and the restoration. The bundled
networks saw none of these pictures in training.</p>
{wait}<p><a href="panel.png"><img src="panel.png" alt="A row of pictures for each task"></a></p>
<h2>The tasks</h2>
<ul>
{links}
</ul>
<p>All figures are in <a href="metrics.json">metrics.json</a>.</p>
<h2>What to try next</h2>
<dl>
{commands}
</dl>
</html>
"""
