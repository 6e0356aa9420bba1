"""The kind `dice`: compares the number in a file with a threshold."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from exporter import Deadline, Measurement, Outcome, Probe, Reason


class Dice(Probe):
    """Reads a number from a file and compares it with a threshold.

    The fields are the options, in camelCase. The docstring under a field describes the option in the JSON Schema.
    """

    measures: ClassVar = {"dice_pips": "Pips in the latest run."}
    examples: ClassVar = ("- name: lucky\n  dice: {file: /tmp/dice, failPips: 2}",)

    file: Path
    """The file that contains the number."""
    fail_pips: Annotated[int, Field(strict=True, ge=1, le=6)] = 1
    """Fails when the number is at or below this value."""

    @property
    def target(self) -> str:
        """The file to read. A target must not contain secrets."""
        return str(self.file)

    def probe(self, deadline: Deadline) -> Outcome:
        """Run the check once. A missing file is a failure; any other exception makes the result `unknown`."""
        try:
            pips = int(self.file.read_text())
        except FileNotFoundError:
            return Outcome.failed(Reason.MISSING, f"{self.file} does not exist")
        return Outcome.measured(f"{pips} pips", Measurement("dice_pips", pips, fail=self.fail_pips, falling=True))
