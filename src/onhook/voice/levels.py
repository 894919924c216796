"""How loud a sound must be to count: louder than the line's noise."""

_QUIETEST_DB = -70.0
"""No line is taken to be quieter."""
_NOISIEST_START_DB = -45.0
"""No line is taken to be noisier from its first window, which may be speech already."""
_STANDS_OUT_DB = 3.0
_FALLS = 0.5
_RISES = 0.06
"""How much of the way the noise floor goes to a quieter window, and to a louder one in which nobody speaks."""


class NoiseFloor:
    """Follows the noise of one line."""

    def __init__(self) -> None:
        self._level: float | None = None

    def loud(self, level: float) -> bool:
        """Say whether a window of this level stands out of the noise heard before."""
        return level > self._before(level) + _STANDS_OUT_DB

    def hear(self, level: float, *, silent: bool) -> None:
        """Take a window; one in which somebody may speak says nothing of the noise, unless it is quieter."""
        before = self._before(level)
        step = max(level, _QUIETEST_DB) - before
        share = _FALLS if step < 0 else _RISES * silent
        self._level = before + step * share

    def _before(self, level: float) -> float:
        return min(max(level, _QUIETEST_DB), _NOISIEST_START_DB) if self._level is None else self._level
