//! The reference a receiver is measured against: tonic and prost as anybody would put them together. It decodes every
//! request and drops it.

use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use serde_json::json;
use tonic::{Request, Response, Status};

use crate::error::CliError;

struct Drops;

#[tonic::async_trait]
impl TraceService for Drops {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        drop(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Serves until it is told to stop.
pub fn serve(ready_file: &Path) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start a runtime", &error))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(|error| CliError::io("listen on loopback", &error))?;
        let address = listener
            .local_addr()
            .map_err(|error| CliError::io("learn the port", &error))?;
        let ready = json!({ "otlp_grpc": address.to_string() });
        std::fs::write(ready_file, ready.to_string())
            .map_err(|error| CliError::io(format!("write {}", ready_file.display()), &error))?;
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|error| CliError::io("listen for signals", &error))?;
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .add_service(TraceServiceServer::new(Drops).max_decoding_message_size(64 << 20))
            .serve_with_incoming_shutdown(incoming, async move {
                stop.recv().await;
            })
            .await
            .map_err(|error| CliError::new(format!("the reference receiver stopped: {error}")))
    })
}
