// Sends every signal through one of Node's OTLP exporters, and writes down what it sent.
//
//   send.js grpc|proto|http ENDPOINT gzip|none EXPECTED
//
// `http` is OTLP as JSON. What was sent is taken from the SDK's own objects, not from the encoded request, one JSON
// object a line in the shape in which casefile prints signals.

import { writeFileSync } from 'node:fs';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, createTraceState, trace } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import {
  AggregationTemporality,
  AggregationType,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';

const [transport, endpoint, compression, expected] = process.argv.slice(2);
const service = `node-${transport}-${compression}`;

// JSON.stringify can't write whole numbers beyond 2^53, nor tell 5 from 5.0; both come in as this and leave unquoted.
class Literal {
  constructor(text) {
    this.text = text;
  }
}

// JavaScript has one kind of number: whole ones travel as integers, as far as they are safe.
const attributes = {
  text: 'plain',
  'text.empty': '',
  'text.unicode': 'naïve 支付 🧾 \u202eover',
  'text.control': 'a\x1b[31mred\x1b[0m\r\n\t\x00 "quoted" \\back',
  'text.long': 'x'.repeat(10_000),
  'bool.true': true,
  'bool.false': false,
  int: 42,
  'int.zero': 0,
  'int.negative': -1,
  'int.largest_safe': Number.MAX_SAFE_INTEGER,
  'int.smallest_safe': Number.MIN_SAFE_INTEGER,
  double: 0.1,
  'double.tiny': 5e-324,
  'list.text': ['a', '', 'ü'],
  'list.bool': [true, false],
  'list.int': [1, -7],
  'list.double': [0.5, 2.25],
  'list.empty': [],
};
const notFinite = { 'double.nan': NaN, 'double.infinity': Infinity, 'double.minus_infinity': -Infinity };
const nested = { outer: { inner: [1, { deep: true }], none: {} }, list: ['a', 1, true, 0.5] };
const bytes = new Uint8Array([0, 255, 128, 98]);

function plain(value) {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    // Written as JSON all three become null before they leave the process, which is read as no number.
    return Number.isNaN(value) || transport === 'http' ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
  }
  if (value instanceof Literal) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
  }
  return value;
}

function written(value) {
  if (value instanceof Literal) return value.text;
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(written).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    return `{${Object.entries(value)
      .filter(([, one]) => one !== undefined)
      .map(([key, one]) => `${JSON.stringify(key)}:${written(one)}`)
      .join(',')}}`;
  }
  return JSON.stringify(value);
}

/** A number that OTLP carries as a double, whatever it looks like. */
function double(value) {
  if (value === undefined) return null;
  if (!Number.isFinite(value)) return plain(value);
  return new Literal(Number.isInteger(value) ? `${value}.0` : `${value}`);
}

const nanos = ([seconds, rest]) => BigInt(seconds) * 1_000_000_000n + BigInt(rest);
const scope = (found) => ({ name: found.name, version: found.version ?? '', attributes: {} });
const id = (text) => (text && !/^0+$/.test(text) ? text : null);
/** OTLP says in bit 8 that it is known whether the context came from elsewhere, in bit 9 that it did. */
const flags = (context, own) => (own & 0xff) | 0x100 | (context?.isRemote ? 0x200 : 0);

async function exporters() {
  const names = { traces: 'OTLPTraceExporter', logs: 'OTLPLogExporter', metrics: 'OTLPMetricExporter' };
  const packages = { traces: 'trace', logs: 'logs', metrics: 'metrics' };
  const made = {};
  for (const [signal, name] of Object.entries(names)) {
    const module = await import(`@opentelemetry/exporter-${packages[signal]}-otlp-${transport}`);
    const url = transport === 'grpc' ? endpoint : `${endpoint}/v1/${signal}`;
    made[signal] = new module[name]({ url, compression });
  }
  return made;
}

function traces(resource) {
  const memory = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(memory)] });
  const tracer = provider.getTracer('client-check', '1.2.3');
  const caller = {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
    traceState: createTraceState('vendor=value,other=1'),
  };
  const from = trace.setSpanContext(ROOT_CONTEXT, caller);
  const server = tracer.startSpan('server', { kind: SpanKind.SERVER, attributes: { ...attributes, ...notFinite } }, from);
  server.addEvent('bare');
  server.addEvent('full', attributes, [1_700_000_000, 123_456_789]);
  const inside = trace.setSpan(ROOT_CONTEXT, server);
  for (const kind of [SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]) {
    const links = [{ context: server.spanContext(), attributes: { 'link.key': 7 } }, { context: caller }];
    const child = tracer.startSpan(SpanKind[kind].toLowerCase(), { kind, links }, inside);
    child.setStatus({ code: SpanStatusCode.OK });
    child.end();
  }
  const failing = tracer.startSpan('failing', {}, inside);
  failing.recordException(new Error('said with \x1b[1mescapes\x1b[0m'));
  failing.end();
  server.setStatus({ code: SpanStatusCode.ERROR, message: 'broken on purpose: ü' });
  server.end();
  return [memory.getFinishedSpans(), server.spanContext()];
}

function spanRow(span) {
  const own = span.spanContext();
  return {
    signal: 'traces',
    trace_id: own.traceId,
    span_id: own.spanId,
    parent_span_id: span.parentSpanContext?.spanId ?? null,
    service,
    name: span.name,
    kind: SpanKind[span.kind].toLowerCase(),
    start_unix_nano: nanos(span.startTime),
    end_unix_nano: nanos(span.endTime),
    duration_nano: nanos(span.endTime) - nanos(span.startTime),
    status: SpanStatusCode[span.status.code].toLowerCase(),
    status_message: span.status.message ?? '',
    attributes: plain(span.attributes),
    events: span.events.map((event) => ({
      time_unix_nano: nanos(event.time),
      name: event.name,
      attributes: plain(event.attributes ?? {}),
    })),
    links: span.links.map((link) => ({
      trace_id: link.context.traceId,
      span_id: link.context.spanId,
      attributes: plain(link.attributes ?? {}),
      trace_state: link.context.traceState?.serialize(),
      flags: flags(link.context, link.context.traceFlags),
    })),
    trace_state: own.traceState?.serialize(),
    flags: flags(span.parentSpanContext, own.traceFlags),
    resource: plain(span.resource.attributes),
    scope: scope(span.instrumentationScope),
  };
}

function logs(resource, parent) {
  const memory = new InMemoryLogRecordExporter();
  const provider = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter: memory })] });
  const logger = provider.getLogger('client-check', '1.2.3');
  const inside = trace.setSpanContext(ROOT_CONTEXT, parent);
  const bodies = ['plain text \x1b[31m', 17, 0.25, true, bytes, ['a', 1], nested];
  bodies.forEach((body, index) =>
    logger.emit({
      timestamp: [1_700_000_000, index + 1],
      observedTimestamp: [1_700_000_000, index + 101],
      context: index % 2 === 0 ? inside : ROOT_CONTEXT,
      severityText: index ? 'ERROR' : 'odd case',
      severityNumber: index ? SeverityNumber.ERROR : SeverityNumber.TRACE,
      body,
      attributes: { ...attributes, nested, bytes, index },
      eventName: index === 0 ? 'payment.failed' : undefined,
    }),
  );
  return memory.getFinishedLogRecords();
}

function logRow(record) {
  return {
    signal: 'logs',
    time_unix_nano: nanos(record.hrTime),
    observed_unix_nano: nanos(record.hrTimeObserved),
    severity: record.severityText ?? '',
    severity_number: record.severityNumber,
    service,
    event: record.eventName ?? '',
    body: plain(record.body),
    trace_id: id(record.spanContext?.traceId),
    span_id: id(record.spanContext?.spanId),
    attributes: plain(record.attributes),
    resource: plain(record.resource.attributes),
    scope: scope(record.instrumentationScope),
  };
}

async function metrics(resource) {
  const memory = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: memory, exportIntervalMillis: 3_600_000 });
  const views = [{ instrumentName: 'exponential', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }];
  const provider = new MeterProvider({ resource, readers: [reader], views });
  const meter = provider.getMeter('client-check', '1.2.3');
  const some = { text: 'é', bool: true, int: Number.MAX_SAFE_INTEGER, double: 0.5, list: ['a', 'b'] };
  const whole = { valueType: 0 };
  meter.createCounter('counter.int', { ...whole, unit: '1', description: 'counts' }).add(Number.MAX_SAFE_INTEGER, some);
  meter.createCounter('counter.double', { unit: 's' }).add(0.1, some);
  meter.createUpDownCounter('updown', whole).add(-7, some);
  meter.createGauge('gauge.int', whole).record(-42, some);
  meter.createGauge('gauge.double').record(-0.25, some);
  for (const name of ['explicit', 'exponential']) {
    const histogram = meter.createHistogram(name, { unit: 'ms', description: 'how long' });
    for (const value of [0, 0.5, 3.25, 8000, 1e9]) histogram.record(value, some);
  }
  await reader.forceFlush();
  const [data] = memory.getMetrics();
  await provider.shutdown();
  return data;
}

function numbers(metric, point) {
  const temporality = AggregationTemporality[metric.aggregationTemporality].toLowerCase();
  const value = metric.descriptor.valueType === 0 ? point.value : double(point.value);
  switch (metric.dataPointType) {
    case DataPointType.GAUGE:
      return { type: 'gauge', value };
    case DataPointType.SUM:
      return { type: 'sum', value, temporality, monotonic: metric.isMonotonic };
    case DataPointType.HISTOGRAM:
      return {
        type: 'histogram',
        temporality,
        count: point.value.count,
        sum: double(point.value.sum),
        min: double(point.value.min),
        max: double(point.value.max),
        bounds: point.value.buckets.boundaries.map(double),
        bucket_counts: point.value.buckets.counts,
      };
    case DataPointType.EXPONENTIAL_HISTOGRAM:
      return {
        type: 'exponential_histogram',
        temporality,
        count: point.value.count,
        sum: double(point.value.sum),
        min: double(point.value.min),
        max: double(point.value.max),
        scale: point.value.scale,
        zero_count: point.value.zeroCount,
        positive_offset: point.value.positive.offset,
        positive_counts: point.value.positive.bucketCounts,
        negative_offset: point.value.negative.offset,
        negative_counts: point.value.negative.bucketCounts,
      };
    default:
      throw new Error(`a point of type ${metric.dataPointType} is not expected`);
  }
}

function metricRows(data) {
  return data.scopeMetrics.flatMap((scoped) =>
    scoped.metrics.flatMap((metric) =>
      metric.dataPoints.map((point) => ({
        signal: 'metrics',
        name: metric.descriptor.name,
        unit: metric.descriptor.unit,
        description: metric.descriptor.description || undefined,
        time_unix_nano: nanos(point.endTime),
        start_unix_nano: nanos(point.startTime),
        service,
        attributes: plain(point.attributes),
        resource: plain(data.resource.attributes),
        scope: scope(scoped.scope),
        ...numbers(metric, point),
      })),
    ),
  );
}

async function exported(exporter, batch, what) {
  const result = await new Promise((resolve) => exporter.export(batch, resolve));
  if (result.code !== 0) throw new Error(`${service}: exporting ${what} failed: ${result.error}`);
  await exporter.shutdown();
}

const resource = resourceFromAttributes({ 'service.name': service, 'service.instance.id': 'i-1', ...attributes });
const made = await exporters();
const [spans, parent] = traces(resource);
const records = logs(resource, parent);
const data = await metrics(resource);
await exported(made.traces, spans, 'traces');
await exported(made.logs, records, 'logs');
await exported(made.metrics, data, 'metrics');
const rows = [...spans.map(spanRow), ...records.map(logRow), ...metricRows(data)];
writeFileSync(expected, rows.map((row) => `${written(row)}\n`).join(''));
