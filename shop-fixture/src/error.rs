//! Owns two kinds of failure: what stops the shop from running (`ShopError`), and what a request is answered with
//! (`ApiError`, one shape for gRPC and HTTP). Leaves failures of outgoing calls to `call`.

use std::path::{Path, PathBuf};

use prost::Message;
use tonic::{Code, Status};

/// Why the shop, or one process of it, could not start, run or be told something.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    #[error("could not {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not valid JSON of the expected shape: {source}", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{option} cannot be '{value}': allowed is {allowed}")]
    Option {
        option: &'static str,
        value: String,
        allowed: String,
    },
    #[error("no service is called '{name}': there are {known}")]
    UnknownService { name: String, known: String },
    #[error(
        "could not listen on {address}: {source} (hint: another shop may be running; `--ports auto` picks free ports)"
    )]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("could not start {instance} as {}: {source}", executable.display())]
    Spawn {
        instance: String,
        executable: PathBuf,
        source: std::io::Error,
    },
    #[error("{instance} ended before it was ready ({how}); its log is {}", log.display())]
    EndedEarly {
        instance: String,
        how: String,
        log: PathBuf,
    },
    #[error("not ready after {seconds} s: waiting for {waiting} (hint: the logs are in {})", logs.display())]
    NotReady {
        seconds: u64,
        waiting: String,
        logs: PathBuf,
    },
    #[error("a shop already runs in {} (supervisor at {supervisor}); stop it with `shop down` or use another run directory", run_dir.display())]
    AlreadyRunning {
        run_dir: PathBuf,
        supervisor: String,
    },
    #[error("no shop runs in {}: its supervisor does not answer ({why})", run_dir.display())]
    NotRunning { run_dir: PathBuf, why: String },
    #[error("{url} answered {status}: {body}")]
    Refused {
        url: String,
        status: u16,
        body: String,
    },
    #[error("could not call {url}: {source}")]
    Call { url: String, source: reqwest::Error },
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("a caller's timeout must exceed its callee's: {0}")]
    Ladder(String),
    #[error("{0}")]
    Internal(String),
}

impl ShopError {
    pub fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// What a request is refused or failed with.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub code: Code,
    /// The reason word, such as `INSUFFICIENT_STOCK`.
    pub reason: String,
    /// A text for people; never an internal address.
    pub message: String,
    /// Named facts of the reason, such as the product and what is available.
    pub facts: Vec<(String, String)>,
    /// An HTTP status that differs from the natural partner of the code.
    pub http: Option<u16>,
    pub retry_after_s: Option<u64>,
}

impl ApiError {
    pub fn new(code: Code, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            facts: Vec::new(),
            http: None,
            retry_after_s: None,
        }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, "INVALID_ARGUMENT", message)
    }

    pub fn not_found(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, reason, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, "INTERNAL", message)
    }

    #[must_use]
    pub fn with_http(mut self, status: u16) -> Self {
        self.http = Some(status);
        self
    }

    #[must_use]
    pub fn fact(mut self, name: &str, value: impl ToString) -> Self {
        self.facts.push((name.to_owned(), value.to_string()));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub fn http_status(&self) -> u16 {
        self.http
            .unwrap_or_else(|| http_of(self.code, &self.reason))
    }

    /// Whether the same call may succeed later without anything being changed by the caller.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted
        )
    }

    /// Whether an idempotency record may keep this outcome: the business refused, and would again.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        matches!(
            self.code,
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unauthenticated
        )
    }

    #[must_use]
    pub fn to_status(&self) -> Status {
        let info = ErrorInfo {
            reason: self.reason.clone(),
            domain: "shop".to_owned(),
            metadata: self.facts.iter().cloned().collect(),
        };
        let details = RpcStatus {
            code: self.code as i32,
            message: self.message.clone(),
            details: vec![Any {
                type_url: ERROR_INFO_TYPE.to_owned(),
                value: info.encode_to_vec(),
            }],
        };
        Status::with_details(
            self.code,
            self.message.clone(),
            details.encode_to_vec().into(),
        )
    }

    /// Reads back what `to_status` wrote; a status without details keeps its code's name as reason.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        let mut error = Self::new(status.code(), code_text(status.code()), status.message());
        if let Ok(details) = RpcStatus::decode(status.details()) {
            for any in details.details {
                if any.type_url == ERROR_INFO_TYPE
                    && let Ok(info) = ErrorInfo::decode(any.value.as_slice())
                {
                    error.reason = info.reason;
                    error.facts = info.metadata.into_iter().collect();
                    error.facts.sort();
                }
            }
        }
        error
    }

    #[must_use]
    pub fn body(&self, trace_id: Option<&str>) -> serde_json::Value {
        let mut error = serde_json::json!({
            "code": self.reason,
            "message": self.message,
            "retryable": self.is_retryable(),
            "trace_id": trace_id,
        });
        if !self.facts.is_empty() {
            error["details"] = self
                .facts
                .iter()
                .map(|(k, v)| (k.clone(), v.clone().into()))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        serde_json::json!({ "error": error })
    }
}

impl From<crate::store::StoreError> for ApiError {
    fn from(error: crate::store::StoreError) -> Self {
        if error.is_busy() {
            return Self::new(Code::Unavailable, "STORE_BUSY", "the store is busy").retry_after(1);
        }
        Self::new(
            Code::Internal,
            "STORE_FAILED",
            format!("the store failed: {error}"),
        )
    }
}

/// The status map of gRPC codes to HTTP.
#[must_use]
pub fn http_of(code: Code, reason: &str) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument if reason == "IDEMPOTENCY_KEY_REUSED" => 422,
        Code::InvalidArgument | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::FailedPrecondition if reason == "PAYMENT_FAILED" => 402,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Internal | Code::Unknown | Code::DataLoss => 500,
    }
}

/// The reverse map, for injected HTTP codes in a gRPC service.
#[must_use]
pub fn grpc_of(http: u16) -> Code {
    match http {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::Aborted,
        429 => Code::ResourceExhausted,
        500 => Code::Internal,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Unknown,
    }
}

/// The name of a code as semantic conventions write it.
#[must_use]
pub fn code_text(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

const ERROR_INFO_TYPE: &str = "type.googleapis.com/google.rpc.ErrorInfo";

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: std::collections::BTreeMap<String, String>,
}
