"""The kind `dice`: how high a file of dice has fallen."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.probe.check import Probe


class Dice(Probe):
    """Reads one number from a file, and fails below a limit.

    The fields are the options, in camelCase; the docstring under each is its description in the JSON Schema.
    """

    measures: ClassVar = {"dice_pips": "Pips that were seen in the latest run."}
    examples: ClassVar = ("- name: lucky\n  dice: {file: /tmp/dice, failPips: 2}",)

    file: Path
    """The file with the number."""
    fail_pips: Annotated[int, Field(strict=True, ge=1, le=6)] = 1
    """Pips at and below which the check fails."""

    @property
    def target(self) -> str:
        """What is looked at, without anything secret."""
        return str(self.file)

    def probe(self, deadline: Deadline) -> Outcome:
        """Look once. A missing file is a failure; anything else that goes wrong is `unknown`, by itself."""
        try:
            pips = int(self.file.read_text())
        except FileNotFoundError:
            return Outcome.failed(Reason.MISSING, f"{self.file} does not exist")
        return Outcome.measured(f"{pips} pips", Measurement("dice_pips", pips, fail=self.fail_pips, falling=True))
