"""What `growth` has measured, as a file, and the straight lines through it."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

COLUMNS = ("figure", "x", "unit", "minimum", "median", "maximum")


@dataclass(frozen=True)
class Measured:
    """A value of a figure at some x, which is a number or a name."""

    figure: str
    x: str
    unit: str
    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, figure: str, x: str, unit: str, values: Sequence[float]) -> "Measured":
        return cls(figure, x, unit, min(values), median(values), max(values))


@dataclass(frozen=True)
class Formula:
    """A straight line: y = base + slope * x."""

    base: float
    slope: float

    def __call__(self, x: float) -> float:
        return self.base + self.slope * x


def fit(points: Sequence[tuple[float, float]]) -> Formula:
    """Return the line with the least sum of squared relative errors: right for 5 checks as well as for 20,000."""
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    center_x = sum(weight * x for weight, (x, _) in zip(weights, points, strict=True)) / total
    center_y = sum(weight * y for weight, (_, y) in zip(weights, points, strict=True)) / total
    weighted = [(weight, x - center_x, y - center_y) for weight, (x, y) in zip(weights, points, strict=True)]
    slope = sum(weight * x * y for weight, x, y in weighted) / sum(weight * x * x for weight, x, _ in weighted)
    return Formula(center_y - slope * center_x, slope)


class Results:
    """All that was measured."""

    def __init__(self, rows: Iterable[Measured]) -> None:
        self.rows = list(rows)

    def select(self, figure: str) -> list[Measured]:
        """The values of a figure."""
        return [row for row in self.rows if row.figure == figure]

    def value(self, figure: str, x: str) -> float:
        """The median of a figure at some x."""
        return next(row.median for row in self.select(figure) if row.x == x)

    def fit(self, figure: str) -> Formula:
        return fit([(float(row.x), row.median) for row in self.select(figure)])

    def find_error(self, figure: str) -> tuple[float, str]:
        """The largest relative error of a formula, and where it is."""
        line = self.fit(figure)
        return max((abs(line(float(row.x)) / row.median - 1), row.x) for row in self.select(figure))


def write(path: Path, rows: Iterable[Measured]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            numbers = (f"{number:.4g}" for number in (row.minimum, row.median, row.maximum))
            table.writerow([row.figure, row.x, row.unit, *numbers])


def read(path: Path) -> Results:
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return Results(
            Measured(row["figure"], row["x"], row["unit"], *(float(row[name]) for name in COLUMNS[3:])) for row in rows
        )
