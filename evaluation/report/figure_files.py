"""A figure as files: `NAME.png`, `NAME.svg`, `NAME.csv` with what it shows; and as it goes into a page."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from evaluation.report.style import plt
from nim_dataset.files import write_text, written_whole

ENDINGS = ("png", "svg", "csv")


def save(figure: Figure, data: pd.DataFrame | None, folder: Path, name: str) -> str:
    """Writes `name.png`, `name.svg` and, of known data, `name.csv`; returns the SVG as it goes into a page."""
    # Two drawings in all: `savefig` would repeat the layout, most of the work, for each file and once more before.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    with written_whole(folder / f"{name}.png") as file:
        opaque = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        opaque.save(file, "png", dpi=(figure.dpi, figure.dpi), compress_level=3)  # 6 is twice the work for 6% less
    figure.set_layout_engine("none")
    with written_whole(folder / f"{name}.svg") as file, matplotlib.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    plt.close(figure)
    table = folder / f"{name}.csv"
    if data is None:
        table.unlink(missing_ok=True)
    else:
        write_text(table, data.to_csv(index=False))
    return inline_svg((folder / f"{name}.svg").read_text(encoding="utf-8"))


def inline_svg(text: str) -> str:
    """The `<svg>` element alone, without namespaces, metadata and the ids that would clash with other figures'."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g) id="[^"]*"', r"\1", text)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    return re.sub(r"\s*\n\s*", "\n", text)
