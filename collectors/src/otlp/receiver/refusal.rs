//! Every way a request is refused, and what each transport calls it.

use std::time::Duration;

use case::AppendError;
use http::StatusCode;

use crate::otlp::compression::DecompressError;

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Over a size limit. Sending it again won't help.
    TooLarge(String),
    /// Not a request of its signal. Sending it again won't help.
    Malformed(String),
    /// Too much is under way, or the disk refuses. Sending it again later will help.
    Busy {
        reason: String,
        retry_after: Duration,
    },
    /// No token, or a wrong one.
    Unauthenticated,
    UnknownPath(String),
    WrongMethod(String),
    WrongContentType(String),
    UnknownCompression(String),
    /// The body did not arrive in time.
    TooSlow(Duration),
    /// The body ended in the middle: the client went away.
    Abandoned(String),
    /// A fault of ours.
    Internal(String),
}

/// Codes of `google.rpc.Code`, which gRPC and every `Status` body use.
pub(super) mod code {
    pub(in super::super) const OK: i32 = 0;
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

impl Refusal {
    /// In the order of [`Refusal::index`]; how counters name them.
    pub(super) const NAMES: [&'static str; 11] = [
        "too_large",
        "malformed",
        "busy",
        "unauthenticated",
        "unknown_path",
        "wrong_method",
        "wrong_content_type",
        "unknown_compression",
        "too_slow",
        "abandoned",
        "internal",
    ];

    pub(super) fn index(&self) -> usize {
        match self {
            Refusal::TooLarge(_) => 0,
            Refusal::Malformed(_) => 1,
            Refusal::Busy { .. } => 2,
            Refusal::Unauthenticated => 3,
            Refusal::UnknownPath(_) => 4,
            Refusal::WrongMethod(_) => 5,
            Refusal::WrongContentType(_) => 6,
            Refusal::UnknownCompression(_) => 7,
            Refusal::TooSlow(_) => 8,
            Refusal::Abandoned(_) => 9,
            Refusal::Internal(_) => 10,
        }
    }

    /// Bodies of all requests together are over the budget.
    pub(super) fn over_budget() -> Refusal {
        Refusal::Busy {
            reason: "too many bytes of other requests are in flight".to_owned(),
            retry_after: Duration::from_secs(1),
        }
    }

    pub(super) fn too_many_connections() -> Refusal {
        Refusal::Busy {
            reason: "too many connections".to_owned(),
            retry_after: Duration::from_secs(1),
        }
    }

    pub(super) fn http_status(&self) -> StatusCode {
        match self {
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Malformed(_) | Refusal::Abandoned(_) => StatusCode::BAD_REQUEST,
            Refusal::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
            Refusal::UnknownPath(_) => StatusCode::NOT_FOUND,
            Refusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::WrongContentType(_) | Refusal::UnknownCompression(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Refusal::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Refusal::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The code of the `Status` in an HTTP body.
    pub(super) fn code(&self) -> i32 {
        match self {
            Refusal::TooLarge(_) => code::RESOURCE_EXHAUSTED,
            Refusal::Malformed(_) | Refusal::WrongContentType(_) => code::INVALID_ARGUMENT,
            Refusal::Busy { .. } => code::UNAVAILABLE,
            Refusal::Unauthenticated => code::UNAUTHENTICATED,
            Refusal::UnknownPath(_) => code::NOT_FOUND,
            Refusal::WrongMethod(_) | Refusal::UnknownCompression(_) => code::UNIMPLEMENTED,
            Refusal::TooSlow(_) => code::DEADLINE_EXCEEDED,
            Refusal::Abandoned(_) => code::CANCELLED,
            Refusal::Internal(_) => code::INTERNAL,
        }
    }

    /// The code of a gRPC answer: the same, but that an unknown path is an unknown method there.
    pub(super) fn grpc_code(&self) -> i32 {
        match self {
            Refusal::UnknownPath(_) => code::UNIMPLEMENTED,
            other => other.code(),
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::Busy { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Refusal::TooLarge(reason)
            | Refusal::Malformed(reason)
            | Refusal::Busy { reason, .. }
            | Refusal::Abandoned(reason)
            | Refusal::Internal(reason) => reason.clone(),
            Refusal::Unauthenticated => {
                "a bearer token is needed: send `authorization: Bearer TOKEN`".to_owned()
            }
            Refusal::UnknownPath(path) => format!("nothing is received at {path}"),
            Refusal::WrongMethod(method) => format!("{method} is not the way: use POST"),
            Refusal::WrongContentType(sent) if sent.is_empty() => {
                "a content type is needed".to_owned()
            }
            Refusal::WrongContentType(sent) => {
                format!("content type {sent} is not one of OTLP here")
            }
            Refusal::UnknownCompression(sent) => {
                format!("compression {sent} is not known: use identity, gzip or zstd")
            }
            Refusal::TooSlow(limit) => {
                format!("the body did not arrive within {} ms", limit.as_millis())
            }
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Refusal {
        let reason = error.to_string();
        match error {
            AppendError::Malformed { .. } => Refusal::Malformed(reason),
            AppendError::Busy { retry_after, .. } | AppendError::Storage { retry_after, .. } => {
                Refusal::Busy {
                    reason,
                    retry_after,
                }
            }
            AppendError::Closed => Refusal::Busy {
                reason,
                retry_after: Duration::from_secs(5),
            },
        }
    }
}

impl From<DecompressError> for Refusal {
    fn from(error: DecompressError) -> Refusal {
        match error {
            DecompressError::TooLarge { .. } => Refusal::TooLarge(error.to_string()),
            DecompressError::Malformed { .. } => Refusal::Malformed(error.to_string()),
            DecompressError::OverBudget => Refusal::over_budget(),
        }
    }
}
