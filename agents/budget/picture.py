"""A replay as a picture: shares against budget, the evaluator's load, and realised loss against age at action.

All panels share the time axis: what a budget keeps, and what acting at that age costs, stand above each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agents.budget.recording import Recording
from agents.budget.report import loss
from streams.budget import Replayed, State
from streams.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # an extra

SUFFIXES = (".svg", ".png")
LINES = ((State.KEPT, "kept", "#1a7f37"), (State.DROPPED, "dropped", "#b3261e"))
MORE = ((State.ASKED, "asked again", "#9a6700"), (State.SHOWN, "shown as stale", "#6639ba"))

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000, "ms": 1}
_STEPS = {"ms": (1, 3, 10, 30, 100, 300), "s": (1, 2, 5, 10, 20), "min": (0.5, 1, 2, 5, 10, 30), "h": (1, 2, 6, 12)}
TICKS_MS = [round(step * _UNITS_MS[unit]) for unit, steps in _STEPS.items() for step in steps]
TICKS_MS += [step * _UNITS_MS["d"] for step in (1, 3, 7)]


def check(file: Path) -> None:
    """Raises ConfigurationError, before anything long is done, where no picture could be drawn."""
    if file.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"--plot {file}: a picture is an {' or a '.join(SUFFIXES)} file")
    if not file.absolute().parent.is_dir():
        raise ConfigurationError(f"--plot {file}: there is no folder {file.parent}")
    try:
        import matplotlib.figure  # noqa: F401 - an extra: only whether it is there
    except ImportError as error:
        raise ConfigurationError(
            "a picture needs matplotlib, the extra `plots`: .venv/bin/python -m pip install --editable '.[plots]', "
            "or leave out --plot"
        ) from error


def draw(file: Path, recording: Recording, rows: Sequence[Replayed], present_ms: int, span_ms: int) -> None:
    """Writes the picture. Raises ConfigurationError where the file cannot be written."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

    lost, loads = loss(recording), [one.questions_a_second(span_ms) for one in rows]
    times_ms = [*(one.budget_ms for one in rows), *(age_ms for age_ms, _, _ in lost)]
    ticks_ms = [one for one in TICKS_MS if min(times_ms) <= one <= max(times_ms)]
    panels = 1 + any(peak for _, peak in loads) + bool(lost)
    with rc_context(
        {"svg.hashsalt": "sluicegate", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(7.5, 1.2 + 2.4 * panels), layout="constrained")
        axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
        figure.suptitle(f"{recording.workflow}: {len(rows[0].states):,} recorded decisions under other budgets")
        _shares(axes[0], rows)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
        if any(peak for _, peak in loads):
            _load(axes[1], [one.budget_ms for one in rows], loads)
        if lost:
            _loss(axes[-1], lost)
            axes[-1].yaxis.set_major_formatter(PercentFormatter(1.0))
        for axis in axes:
            axis.set_xscale("log")
            axis.axvline(present_ms, color="#57606a", linestyle=":", linewidth=1)
            axis.grid(alpha=0.25)
            axis.xaxis.set_major_locator(FixedLocator(ticks_ms))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _named(round(value))))
            axis.xaxis.set_minor_locator(NullLocator())
        axes[0].annotate(
            " present", (present_ms, 0.45), xycoords=("data", "axes fraction"), color="#57606a", va="center"
        )
        axes[-1].set_xlabel("budget" + (", age at action" if lost else ""))
        try:
            figure.savefig(file, metadata={"Date": None} if file.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise ConfigurationError(f"--plot {file} cannot be written: {error}") from error


def _shares(axis: Axes, rows: Sequence[Replayed]) -> None:
    """By value where there is one currency, else by count; without what ended for other reasons."""
    by_value = len(rows[0].names) == 1

    def weight(one: Replayed, state: State) -> int:
        return sum(one.value_minor(state).values()) if by_value else one.count(state)

    seen = [*LINES, *(line for line in MORE if any(weight(one, line[0]) for one in rows))]
    wholes = [max(1, sum(weight(one, state) for state in State if state is not State.OTHER)) for one in rows]
    budgets_ms = [one.budget_ms for one in rows]
    for state, name, color in seen:
        shares = [weight(one, state) / whole for one, whole in zip(rows, wholes, strict=True)]
        axis.plot(budgets_ms, shares, marker="o", markersize=3, color=color, label=name)
    axis.set_ylim(-0.02, 1.05)
    axis.set_ylabel(f"share of value ({rows[0].names[0]})" if by_value else "share of decisions")
    axis.legend(frameon=False, loc="center right")


def _load(axis: Axes, budgets_ms: Sequence[int], loads: Sequence[tuple[float, int]]) -> None:
    axis.plot(budgets_ms, [mean for mean, _ in loads], marker="o", markersize=3, color="#0969da", label="mean")
    axis.plot(budgets_ms, [peak for _, peak in loads], linestyle="--", color="#0969da", label="most in a second")
    axis.set_ylabel("questions/s")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)


def _loss(axis: Axes, lost: Sequence[tuple[int, int, float]]) -> None:
    axis.plot(
        [max(1, age_ms) for age_ms, _, _ in lost],
        [share for _, _, share in lost],
        marker="s",
        markersize=3,
        color="#b3261e",
        label="realised loss, by age at action",
    )
    axis.axhline(0, color="#57606a", linewidth=0.7)
    axis.set_ylabel("lost of what was promised")
    axis.legend(frameon=False)


def _named(span_ms: int) -> str:
    unit = next(unit for unit, size_ms in _UNITS_MS.items() if span_ms >= size_ms)
    return f"{span_ms // _UNITS_MS[unit]} {unit}"
