"""One table, as text for a terminal, Markdown, LaTeX and CSV. Cells are text or numbers; numbers show one decimal."""

import csv
import io
from collections.abc import Sequence

Row = Sequence[object]


def text(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Columns as wide as their widest cell, numbers to the right."""
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    )


def markdown(columns: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def latex(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A tabular with booktabs' rules."""
    lines = [[_escaped(_cell(value)) for value in row] for row in [columns, *rows]]
    head, *body = [" & ".join(line) + r" \\" for line in lines]
    rules = [rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*rules, *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def comma_separated(columns: Sequence[str], rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}


def _escaped(cell: str) -> str:
    return "".join(_LATEX.get(character, character) for character in cell)
