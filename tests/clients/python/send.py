"""Sends every signal through one of Python's OTLP exporters, and writes down what it sent.

    send.py grpc|proto|json ENDPOINT gzip|none EXPECTED

What was sent is taken from the SDK's own objects, not from the encoded request, one JSON object a line in the shape in
which casefile prints signals. So whatever encoder, wire or receiver loses or changes shows as a difference.
"""

import base64
import json
import math
import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import (
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    MeterProvider,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

TRANSPORT, ENDPOINT, COMPRESSION, EXPECTED = sys.argv[1:5]
SERVICE = f"python-{TRANSPORT}-{COMPRESSION}"

# One of every kind, and of every kind the values that encoders and parsers get wrong.
ATTRIBUTES = {
    "text": "plain",
    "text.empty": "",
    "text.unicode": "naïve 支付 🧾 \u202eover",
    "text.control": "a\x1b[31mred\x1b[0m\r\n\t\x00 \"quoted\" \\back",
    "text.long": "x" * 10_000,
    "bool.true": True,
    "bool.false": False,
    "int": 42,
    "int.zero": 0,
    "int.negative": -1,
    "int.beyond_double": 2**53 + 1,
    "int.max": 2**63 - 1,
    "int.min": -(2**63),
    "double": 0.1,
    "double.whole": 5.0,
    "double.tiny": 5e-324,
    "double.huge": 1.7976931348623157e308,
    "double.infinity": math.inf,
    "double.minus_infinity": -math.inf,
    "double.nan": math.nan,
    "list.text": ["a", "", "ü"],
    "list.bool": [True, False],
    "list.int": [1, -(2**53) - 1],
    "list.double": [0.5, 2.0],
    "list.empty": [],
    "bytes": b"\x00\xff\x80binary",
}
NESTED = {"outer": {"inner": [1, {"deep": b"\x01"}], "none": {}}, "list": ["a", 1, True, 0.5]}


def plain(value):
    """A value as casefile prints it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if hasattr(value, "items"):
        return {key: plain(one) for key, one in value.items()}
    return value


def hexed(number, digits):
    return f"{number:0{digits}x}" if number else None


def scope(found):
    return {"name": found.name, "version": found.version or "", "attributes": plain(found.attributes or {})}


def remote(context):
    """OTLP says in bit 8 that it is known whether the context came from elsewhere, in bit 9 that it did."""
    return 0x100 | (0x200 if context and context.is_remote else 0)


def exporters():
    options = {"endpoint": ENDPOINT}
    if TRANSPORT == "grpc":
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter, metric_exporter, trace_exporter

        options |= {"insecure": True, "compression": grpc.Compression.Gzip if COMPRESSION == "gzip" else None}
        paths = ("", "", "")
    elif TRANSPORT == "proto":
        from opentelemetry.exporter.otlp.proto.http import Compression, _log_exporter, metric_exporter, trace_exporter

        options |= {"compression": Compression.Gzip if COMPRESSION == "gzip" else Compression.NoCompression}
        paths = ("/v1/traces", "/v1/logs", "/v1/metrics")
    else:
        from opentelemetry.exporter.otlp.common.http import Compression
        from opentelemetry.exporter.otlp.json.http import _log_exporter, metric_exporter, trace_exporter

        options |= {"compression": Compression(COMPRESSION)}
        paths = ("/v1/traces", "/v1/logs", "/v1/metrics")
    made = (trace_exporter.OTLPSpanExporter, _log_exporter.OTLPLogExporter, metric_exporter.OTLPMetricExporter)
    return [make(**{**options, "endpoint": ENDPOINT + path}) for make, path in zip(made, paths)]


def traces(resource):
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("client-check", "1.2.3", attributes={"scope.key": "scope value"})
    with tracer.start_as_current_span("server", kind=trace.SpanKind.SERVER, attributes=ATTRIBUTES) as server:
        server.add_event("bare")
        server.add_event("full", ATTRIBUTES, timestamp=1_700_000_000_123_456_789)
        for kind in (trace.SpanKind.INTERNAL, trace.SpanKind.CLIENT, trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER):
            link = trace.Link(server.get_span_context(), {"link.key": 7})
            with tracer.start_as_current_span(kind.name.lower(), kind=kind, links=[link]) as child:
                child.set_status(trace.StatusCode.OK)
        try:
            with tracer.start_as_current_span("failing"):
                raise ValueError("said with \x1b[1mescapes\x1b[0m")
        except ValueError:
            pass
        server.set_status(trace.StatusCode.ERROR, "broken on purpose: ü")
    return memory.get_finished_spans(), server.get_span_context()


def span_row(span):
    return {
        "signal": "traces",
        "trace_id": hexed(span.context.trace_id, 32),
        "span_id": hexed(span.context.span_id, 16),
        "parent_span_id": hexed(span.parent.span_id, 16) if span.parent else None,
        "service": SERVICE,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start_unix_nano": span.start_time,
        "end_unix_nano": span.end_time,
        "duration_nano": span.end_time - span.start_time,
        "status": span.status.status_code.name.lower(),
        "status_message": span.status.description or "",
        "attributes": plain(span.attributes),
        "events": [
            {"time_unix_nano": event.timestamp, "name": event.name, "attributes": plain(event.attributes or {})}
            for event in span.events
        ],
        "links": [
            {
                "trace_id": hexed(link.context.trace_id, 32),
                "span_id": hexed(link.context.span_id, 16),
                "attributes": plain(link.attributes or {}),
                "flags": remote(link.context),
            }
            for link in span.links
        ],
        "flags": remote(span.parent),
        "resource": plain(span.resource.attributes),
        "scope": scope(span.instrumentation_scope),
    }


def logs(resource, parent):
    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("client-check", "1.2.3")
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    bodies = ["plain text \x1b[31m", 17, 0.25, True, b"\xfe\xff", ["a", 1], NESTED]
    for index, body in enumerate(bodies):
        logger.emit(
            LogRecord(
                timestamp=1_700_000_000_000_000_001 + index,
                observed_timestamp=1_700_000_000_000_000_101 + index,
                context=context if index % 2 == 0 else None,
                severity_text="ERROR" if index else "odd case",
                severity_number=SeverityNumber.ERROR if index else SeverityNumber.TRACE,
                body=body,
                attributes={**ATTRIBUTES, "nested": NESTED, "index": index},
                event_name="payment.failed" if index == 0 else None,
            )
        )
    return memory.get_finished_logs()


def log_row(found):
    record = found.log_record
    return {
        "signal": "logs",
        "time_unix_nano": record.timestamp,
        "observed_unix_nano": record.observed_timestamp,
        "severity": record.severity_text or "",
        "severity_number": record.severity_number.value,
        "service": SERVICE,
        "event": record.event_name or "",
        "body": plain(record.body),
        "trace_id": hexed(record.trace_id, 32),
        "span_id": hexed(record.span_id, 16),
        "attributes": plain(record.attributes),
        "resource": plain(found.resource.attributes),
        "scope": scope(found.instrumentation_scope),
    }


def metrics(resource, parent):
    reader = InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA, Counter: AggregationTemporality.CUMULATIVE})
    exponential = View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider(
        metric_readers=[reader], resource=resource, views=[exponential], exemplar_filter=AlwaysOnExemplarFilter()
    )
    meter = provider.get_meter("client-check", "1.2.3")
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    some = {"text": "é", "bool": True, "int": 2**53 + 1, "double": 0.5, "list": ["a", "b"]}
    meter.create_counter("counter.int", "1", "counts").add(2**53 + 1, some, context)
    meter.create_counter("counter.double", "s").add(0.1, some)
    meter.create_up_down_counter("updown").add(-7, some)
    meter.create_gauge("gauge.int").set(-(2**53) - 1, some)
    meter.create_gauge("gauge.double").set(-0.25, some)
    for name in ("explicit", "exponential"):
        histogram = meter.create_histogram(name, "ms", "how long")
        for value in (0, 0.5, 3.25, 8000.0, 1e9):
            histogram.record(value, some, context)
    return reader.get_metrics_data()


def metric_rows(data):
    for resource_metrics in data.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                for point in metric.data.data_points:
                    row = {
                        "signal": "metrics",
                        "name": metric.name,
                        "unit": metric.unit or "",
                        "time_unix_nano": point.time_unix_nano,
                        "start_unix_nano": point.start_time_unix_nano or 0,
                        "service": SERVICE,
                        "attributes": plain(point.attributes),
                        "resource": plain(resource_metrics.resource.attributes),
                        "scope": scope(scope_metrics.scope),
                    }
                    if metric.description:
                        row["description"] = metric.description
                    if point.exemplars:
                        row["exemplars"] = [
                            {
                                "time_unix_nano": exemplar.time_unix_nano,
                                "value": plain(exemplar.value),
                                "trace_id": hexed(exemplar.trace_id, 32),
                                "span_id": hexed(exemplar.span_id, 16),
                                "attributes": plain(exemplar.filtered_attributes or {}),
                            }
                            for exemplar in point.exemplars
                        ]
                    yield row | numbers(metric.data, point)


def numbers(data, point):
    kind = type(data).__name__
    if kind == "Gauge":
        return {"type": "gauge", "value": plain(point.value)}
    over = {1: "delta", 2: "cumulative"}[data.aggregation_temporality]
    if kind == "Sum":
        return {"type": "sum", "value": plain(point.value), "temporality": over, "monotonic": data.is_monotonic}
    shared = {
        "temporality": over,
        "count": point.count,
        "sum": float(point.sum),
        "min": float(point.min),
        "max": float(point.max),
    }
    if kind == "Histogram":
        return shared | {
            "type": "histogram",
            "bounds": [float(bound) for bound in point.explicit_bounds],
            "bucket_counts": list(point.bucket_counts),
        }
    return shared | {
        "type": "exponential_histogram",
        "scale": point.scale,
        "zero_count": point.zero_count,
        "positive_offset": point.positive.offset,
        "positive_counts": list(point.positive.bucket_counts),
        "negative_offset": point.negative.offset,
        "negative_counts": list(point.negative.bucket_counts),
    }


def main():
    resource = Resource({"service.name": SERVICE, "service.instance.id": "i-1", **ATTRIBUTES})
    span_exporter, log_exporter, metric_exporter = exporters()
    spans, parent = traces(resource)
    records = logs(resource, parent)
    data = metrics(resource, parent)
    for what, exporter, batch in (
        ("traces", span_exporter, spans),
        ("logs", log_exporter, records),
        ("metrics", metric_exporter, data),
    ):
        outcome = exporter.export(batch)
        if outcome.name != "SUCCESS":
            sys.exit(f"{SERVICE}: exporting {what} answered {outcome}")
        exporter.shutdown()
    with open(EXPECTED, "w", encoding="utf-8") as out:
        for row in (*map(span_row, spans), *map(log_row, records), *metric_rows(data)):
            out.write(json.dumps(row) + "\n")


main()
