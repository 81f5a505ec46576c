"""The sizes of a suite's models where it matches their costs. Importing this imports no torch."""

from __future__ import annotations

from pdebench.data.registry import SOURCES
from pdebench.errors import ModelError
from pdebench.files.yaml_source import Where
from pdebench.models.grid import grid_of
from pdebench.models.registry import FAMILIES, Dimensions
from pdebench.suite import matching
from pdebench.suite.config import Cell, MatchConfig
from pdebench.suite.measured_sizes import MatchedSizes, SizeQuestion, match_setting
from pdebench.suite.validation import Problem


class SuiteMatch:
    """The sizes that a match gives to the models of a suite, each found once, for all seeds alike.

    Attributes:
        sizes: those that were measured, where that is what is matched by.
        unmeasured: what nobody measured yet, by its key.
    """

    def __init__(self, asked: MatchConfig) -> None:
        self.asked = asked
        self.sizes: MatchedSizes | None = None
        self.unmeasured: dict[str, SizeQuestion] = {}
        self._found: dict[str, Dimensions | ModelError] = {}

    def matched(self, cell: Cell) -> Cell | list[Problem]:
        """The cell at the size that it is given."""
        by, model = self.asked.by, cell.model
        reference = FAMILIES[self.asked.to]
        grid = grid_of(SOURCES[cell.data.name].sides(cell.data), model.patch, model.patch_frames)
        if (why := reference.refusal(grid, reference.options())) is not None:
            return [Problem(("match", "to"), f"{why}; match to a family that has one")]
        if by == "step_time" or by == "peak_memory":
            return self._measured(cell)
        key = (
            f"{SOURCES[cell.data.name].sides(cell.data)} {cell.data.resolution} {model.model_dump_json()} {cell.shell}"
        )
        if key not in self._found:
            family = FAMILIES[model.family]
            try:
                self._found[key] = matching.match(
                    family.in_shell(cell.shell), family.options(**model.options),
                    reference.in_shell(cell.shell.for_another(family, reference)), match_setting(cell, by),
                )  # fmt: skip
            except ModelError as error:
                self._found[key] = error
        size = self._found[key]
        if isinstance(size, ModelError):
            shared: tuple[Where, ...] = (("model", "size"), ("model", "patch"), ("data", "resolution"))
            return [Problem(("model", "family"), str(size), shared=shared)]
        return cell.with_sections(model=model.model_copy(update=size._asdict()))

    def _measured(self, cell: Cell) -> Cell | list[Problem]:
        if cell.train.processes > 1:
            several = "devices" if cell.train.devices > 1 else "nodes"
            message = f"match by {self.asked.by} is measured on one device; match by params or macs, or leave this out"
            return [Problem(("train", several), message)]
        question = SizeQuestion(cell, self.asked.by, self.asked.to)
        if question.of_the_reference:
            return question.at(question.own)
        if self.sizes is not None and (answer := self.sizes.find(question)) is not None:
            return question.at(answer.size.dimensions)
        self.unmeasured[question.key] = question
        if question.key not in self._found:
            self._found[question.key] = question.until_measured()
        size = self._found[question.key]
        assert not isinstance(size, ModelError)
        return question.at(size)
