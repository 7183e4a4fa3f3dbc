"""The shell of every report: one HTML page without any outside resource, readable in light and dark."""

from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #1a7f37; --bad: #cf222e; --odd: #9a6700;
  --candidate: #0969da; --champion: #bc4c00; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; --odd: #d29922;
  --candidate: #58a6ff; --champion: #f0883e; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .5rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
td p { margin: 0 0 .25rem; } .notes { opacity: .75; }
.pass { color: var(--good); } .fail { color: var(--bad); } .crash { color: var(--odd); }
.state { font-weight: 600; white-space: nowrap; }
.empty { background: var(--soft); padding: .75rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-size: .9rem; opacity: .8; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.axis { stroke: currentColor; opacity: .5; } .grid { stroke: var(--line); }
.candidate, .champion, .ideal { fill: none; stroke-width: 1.75; }
.candidate { stroke: var(--candidate); } .champion { stroke: var(--champion); stroke-dasharray: 6 3; }
.ideal { stroke: currentColor; opacity: .5; stroke-dasharray: 2 3; }
.mark.candidate, .bar.candidate { fill: var(--candidate); stroke: none; }
.mark.champion, .bar.champion { fill: var(--champion); stroke: none; } .bar { opacity: .35; }
.key { font-weight: 600; } .key.candidate { color: var(--candidate); } .key.champion { color: var(--champion); }
"""


def html_page(title: str, body: str) -> str:
    """Return a whole page. ``title`` is text; ``body`` is markup, whose texts its author has escaped."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table of texts, which are escaped here. The first ``texts`` columns are words, the others numbers."""

    def line(cells: Sequence[str], tag: str, scope: str = "") -> str:
        styles = ["" if index < texts else ' class="number"' for index in range(len(cells))]
        filled = (f"<{tag}{scope}{style}>{escape(cell)}</{tag}>" for cell, style in zip(cells, styles, strict=True))
        return f"<tr>{''.join(filled)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    head = line(header, "th", ' scope="col"')
    return f'<div class="scroll"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>'
