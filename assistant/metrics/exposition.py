"""The text that Prometheus reads (exposition format 0.0.4): families of samples with labels.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. suffix: what follows the family's name, such as ``_bucket``."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name, with one line on what they mean."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]


class Histogram:
    """Counts what was observed, in buckets whose upper bounds are ``bounds`` (rising); beyond the last is +Inf."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> Iterator[Sample]:
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            yield Sample(total, (("le", _number(bound)),), "_bucket")
        yield Sample(self._sum, suffix="_sum")
        yield Sample(total, suffix="_count")


def gauge(name: str, help_text: str, value: float | None, **labels: str) -> Family:
    """A family of one sample, or of none where the value is not known."""
    samples = () if value is None else (Sample(value, tuple(labels.items())),)
    return Family(name, "gauge", help_text, samples)


def counter(name: str, help_text: str, counts: float | Mapping[str, float], label: str = "") -> Family:
    """One count, or one for each value of ``label``."""
    if isinstance(counts, Mapping):
        samples = tuple(Sample(count, ((label, value),)) for value, count in sorted(counts.items()))
    else:
        samples = (Sample(counts),)
    return Family(name, "counter", help_text, samples)


def render(families: Iterable[Family]) -> str:
    """The whole page. Families without samples are left out."""
    lines = []
    for family in families:
        if family.samples:
            lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
            lines += [_line(family.name, sample) for sample in family.samples]
    return "\n".join(lines) + "\n"


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{_escaped(value, quotes=True)}"' for key, value in sample.labels)
    where = f"{{{labels}}}" if labels else ""
    return f"{name}{sample.suffix}{where} {_number(sample.value)}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value)).removesuffix(".0")
