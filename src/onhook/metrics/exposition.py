"""Metrics as text for Prometheus. It imports `prometheus_client`, which takes 0.1 s: for a thread, and when asked."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector

from onhook.metrics.catalog import CATALOG, Metric
from onhook.metrics.histogram import Histogram
from onhook.metrics.scrape import Reading, Samples

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _Collector:
    """One reading as a collector, with what the operating system says of this process."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Family]:
        for name, samples in self._reading.items():
            yield _family(name, CATALOG[name], samples)
        yield from ProcessCollector(registry=None).collect()


def text(reading: Reading) -> bytes:
    """Return a reading in Prometheus' text format, version 0.0.4."""
    return generate_latest(_Collector(reading))


def _family(name: str, metric: Metric, samples: Samples) -> Family:
    if metric.kind == "histogram":
        histograms = HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
        for labels, value in samples.items():
            if isinstance(value, Histogram):
                histograms.add_metric(labels, list(value.cumulative()), value.total)
        return histograms
    family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
        name, metric.meaning, labels=metric.labels
    )
    for labels, value in samples.items():
        if not isinstance(value, Histogram):
            family.add_metric(labels, value)
    return family
