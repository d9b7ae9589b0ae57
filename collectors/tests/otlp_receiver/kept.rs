use std::sync::Arc;
use std::time::Duration;

use case::{Case, CaseWriter, TraceId, WriterOptions};
use collectors::otlp::receiver::{Receiver, Sink, Stopped};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;

use crate::support::{options, post, traces};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_case_acknowledged_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.case");
    let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
    let sink: Arc<dyn Sink> = Arc::new(writer.clone());
    let receiver = Receiver::start(options(), sink).unwrap();
    let (grpc, http) = (receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap());

    let mut client = TraceServiceClient::connect(format!("http://{grpc}"))
        .await
        .unwrap();
    let answer = client.export(traces(30)).await.unwrap().into_inner();
    assert_eq!(answer.partial_success, None);
    // The same again, as a client sends that did not hear the answer.
    assert_eq!(
        post(http, "/v1/traces", &[PROTOBUF], traces(30).encode_to_vec())
            .await
            .status,
        200
    );
    // One span that can be kept, and one whose id is too short.
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"07070707070707070707070707070707","spanId":"00000000000000ff","name":"good","startTimeUnixNano":"5","endTimeUnixNano":"6"},
        {"traceId":"0707","spanId":"00000000000000fe","name":"bad","startTimeUnixNano":"5","endTimeUnixNano":"6"}]}]}]}"#;
    let reply = post(http, "/v1/traces", &[JSON], json).await;
    assert_eq!(
        (
            reply.status,
            &reply.json()["partialSuccess"]["rejectedSpans"]
        ),
        (200, &"1".into())
    );
    let reply = post(http, "/v1/traces", &[PROTOBUF], "\u{7f}nonsense").await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.status_body().message.contains("traces"),
        "{:?}",
        reply.status_body()
    );
    // Acknowledged, so already there, before anybody closed anything.
    let spans = Case::open(&path).unwrap().trace(TraceId([7; 16])).unwrap();
    assert_eq!(spans.len(), 31);

    let counts = receiver.counters().snapshot().traces;
    assert_eq!(
        (
            counts.acknowledged,
            counts.duplicates,
            counts.rejected_items
        ),
        (3, 1, 1)
    );
    assert_eq!(counts.refused, [("malformed", 1)]);
    assert_eq!(
        receiver.stop(Duration::from_secs(20)).await,
        Stopped::Drained
    );
    writer.close().unwrap();
    let spans = Case::open(&path).unwrap().trace(TraceId([7; 16])).unwrap();
    assert_eq!(spans.len(), 31);
}
