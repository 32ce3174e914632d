"""The report as one HTML file: no script, nothing from elsewhere; light, dark, wide, narrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from bench.report.content import Content, Part
from bench.report.draw.style import COLOURS, Plot
from bench.report.say.table import Table

_VARIABLES = ["".join(f"--{name}:{theme[i]};" for name, theme in COLOURS.items()) for i in (0, 1)]
_CSS = (
    ":root{color-scheme:light dark;"
    + _VARIABLES[0]
    + "}@media (prefers-color-scheme:dark){:root{"
    + _VARIABLES[1]
    + "}}"
    + """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--surface);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:76rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem;letter-spacing:-.01em}
h2{font-size:1.3rem;margin:3rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--line)}
h3{font-size:1rem;line-height:1.35;margin:0 0 .35rem}
p,li{overflow-wrap:anywhere}
p,ul{max-width:46rem;margin:.5rem 0}
ul{padding-left:1.2rem}
li{margin:.2rem 0}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,monospace}
.where,.note,figcaption{color:var(--muted)}
.note,figcaption{font-size:.84rem;line-height:1.45;max-width:46rem}
.answer{background:var(--window);border-radius:10px;padding:1rem 1.25rem;margin:1.25rem 0;
 max-width:60rem}
.answer p{max-width:none;margin:.6rem 0}
.plots{display:flex;flex-wrap:wrap;gap:2rem 2.5rem;margin:1.25rem 0;align-items:flex-start}
.plots>*{min-width:0}
.plots>figure{flex:1 1 min(100%,27rem);max-width:34rem}
.plots>.table{flex:1 1 min(100%,36rem)}
figure{margin:0}
figure svg{display:block;width:100%;height:auto;max-width:35rem;margin:.25rem 0}
figure svg text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.table{margin:1.75rem 0;min-width:0}
.plots .table{margin:0}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:.32rem .8rem .32rem 0;text-align:right;white-space:nowrap;
 border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:8.5rem}
th{color:var(--muted);font-weight:600;vertical-align:bottom}
th.words,td.words{white-space:normal;text-align:left;min-width:15rem}
.whole{white-space:nowrap}
@media (max-width:40rem){main{padding-top:1.5rem}h1{font-size:1.4rem}table{font-size:.8rem}
 th:first-child,td:first-child{min-width:7rem}}
@media print{.plots{break-inside:avoid}}
"""
)
_LONG_CELL = 34


def page(contents: Sequence[Content]) -> str:
    """The whole document."""
    body = "\n".join(map(_content, contents))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Bursts to Lambda: what was measured</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _content(c: Content) -> str:
    answer = "\n".join(f"<p>{markup(p)}</p>" for p in c.answer)
    return (
        "<h1>Which language should absorb the burst?</h1>\n"
        f'<p class="where">Measured on: {escape(c.title)}</p>\n'
        f'<div class="answer">{answer}</div>\n' + "\n".join(map(_part, c.parts))
    )


def _part(part: Part) -> str:
    # a single plot shares its row with the first table, if that is narrow enough
    beside = 1 if len(part.plots) == 1 and part.tables and _width(part.tables[0]) < 75 else 0
    row = "\n".join([*map(_figure, part.plots), *map(_table, part.tables[:beside])])
    return "\n".join(
        [
            f"<section>\n<h2>{escape(part.title)}</h2>",
            *_paragraphs(part.text),
            f'<div class="plots">{row}</div>' if part.plots else "",
            *map(_table, part.tables[beside if part.plots else 0 :]),
            "</section>",
        ]
    )


def _width(table: Table) -> int:
    """Characters of the widest row there could be."""
    return sum(max(map(len, column)) for column in zip(*table.rows, strict=True))


def _paragraphs(texts: Iterable[str]) -> Iterable[str]:
    """Markdown paragraphs; those that begin with "- " are gathered in a list."""
    items: list[str] = []
    for text in texts:
        if text.startswith("- "):
            items.append(f"<li>{markup(text[2:])}</li>")
        else:
            yield f"<p>{markup(text)}</p>"
    if items:
        yield f"<ul>{''.join(items)}</ul>"


def _figure(plot: Plot) -> str:
    return (
        f"<figure><h3>{escape(plot.title)}</h3>{plot.inline()}"
        f"<figcaption>{escape(plot.caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    _, *columns = zip(*table.rows, strict=True)
    kinds = ["", *(' class="words"' if max(map(len, c)) > _LONG_CELL else "" for c in columns)]

    def line(tag: str, cells: Sequence[str]) -> str:
        pairs = zip(kinds, cells, strict=True)
        return "".join(f"<{tag}{kind}>{markup(cell)}</{tag}>" for kind, cell in pairs)

    head = line("th", table.columns)
    rows = "".join(f"<tr>{line('td', row)}</tr>\n" for row in table.rows)
    note = f'<p class="note">{markup(table.note)}</p>' if table.note else ""
    return (
        f'<div class="table"><h3>{escape(table.title)}</h3>{note}\n'
        f'<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div></div>"
    )


def markup(text: str) -> str:
    """The little Markdown this project writes: **strong**, *emphasis* and `code`."""
    safe = escape(text, quote=False)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    safe = re.sub(r"\*(.+?)\*", r"<em>\1</em>", safe)
    safe = re.sub(r"`(.+?)`", r"<code>\1</code>", safe)
    return re.sub(r"[\d.,]+× \([\d.,]+–[\d.,]+\)", r'<span class="whole">\g<0></span>', safe)
