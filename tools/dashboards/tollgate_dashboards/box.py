"""The place of a panel on the page: white, with a title, and coordinates in inches from its upper left corner."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK = "#24292e"
FAINT = "#6a737d"
RULE = "#d8dee4"
PAPER = "#f4f5f7"
# Okabe and Ito's, without yellow, which a thin line on white is not seen in; then the same again, dashed.
CYCLE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#444444"]
DASHES: list[str | tuple[int, tuple[int, ...]]] = ["-", (0, (5, 2)), (0, (1, 2)), (0, (6, 2, 1, 2))]


def colour_of(index: int) -> tuple[str, str | tuple[int, tuple[int, ...]]]:
    """The colour and the dashes of the line of this number."""
    return CYCLE[index % len(CYCLE)], DASHES[index // len(CYCLE) % len(DASHES)]


@dataclass(frozen=True)
class Box:
    """A panel's place, in inches; `top` counts from the top of the page."""

    figure: Figure
    left: float
    top: float
    width: float
    height: float

    def frame(self, title: str) -> None:
        """Draws the panel's paper and its title."""
        page_width, page_height = self.figure.get_size_inches()
        self.figure.add_artist(
            FancyBboxPatch(
                (self.left / page_width, 1 - (self.top + self.height) / page_height),
                self.width / page_width,
                self.height / page_height,
                boxstyle="square,pad=0",
                facecolor="white",
                edgecolor=RULE,
                linewidth=0.8,
                zorder=-1,
            )
        )
        self.text(0.12, 0.19, title, size=10, weight="bold")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 8,
        colour: str = INK,
        weight: str = "normal",
        align: str = "left",
    ) -> None:
        """Writes in the middle of the height `y`."""
        page_width, page_height = self.figure.get_size_inches()
        self.figure.text(
            (self.left + x) / page_width,
            1 - (self.top + y) / page_height,
            text.replace("$", r"\$"),
            fontsize=size,
            color=colour,
            fontweight=weight,
            ha=align,
            va="center_baseline",
        )

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes that leave these margins."""
        page_width, page_height = self.figure.get_size_inches()
        return self.figure.add_axes(
            (
                (self.left + left) / page_width,
                1 - (self.top + self.height - bottom) / page_height,
                (self.width - left - right) / page_width,
                (self.height - top - bottom) / page_height,
            )
        )
