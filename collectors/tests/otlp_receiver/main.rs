//! The receiver as clients meet it: real sockets, real client libraries, hostile bytes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod connections;
mod grpc;
mod hostile;
mod kept;
mod lifecycle;
mod plain_http;
mod support;
mod tls;
