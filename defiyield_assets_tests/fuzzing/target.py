"""What one fuzzing target is: bytes in, a kept promise or an error of our tree out.

Lives here: the type and the judgement. Not here: the targets (answers.py, files.py, texts.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from defiyield_assets.errors import DefiYieldError

LONGEST_MESSAGE = 20_000
"""Characters that an error may tell of the longest input that is tried."""


@dataclass(frozen=True)
class Target:
    """A parser that reads bytes of strangers.

    `read` parses the bytes and asserts what the result promises; `seeds` are good inputs, made when they are asked for;
    `refusals` are the errors, beside those of our tree, that say that the input is wrong.
    """

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    refusals: tuple[type[BaseException], ...] = ()

    def try_one(self, data: bytes) -> bool:
        """Whether the input was accepted; whatever else than a refusal is raised, is a bug."""
        try:
            self.read(data)
        except (DefiYieldError, *self.refusals) as error:
            assert len(str(error)) < LONGEST_MESSAGE, "the error repeats its input"  # noqa: PT017 - it may go well
            return False
        return True
