//! Owns the names for how the way to a callee failed, as `error.type` tells them: no name, no host, nobody listening, a
//! connection cut, no answer in time.

use std::error::Error;
use std::io::ErrorKind;

const TIMEOUT: &str = "timeout";
const OTHER: &str = "connection_failed";

/// What went wrong on the way, by the innermost cause that says it.
#[must_use]
pub fn transport_kind(error: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(error);
    let mut found = OTHER;
    while let Some(error) = next {
        if let Some(kind) = kind_of(error) {
            found = kind;
            // The resolver's failure is an error of input and output, too, but of no kind that says so.
            if kind == "dns" {
                break;
            }
        }
        next = error.source();
    }
    found
}

fn kind_of(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return match io.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::AddrNotAvailable => Some("refused"),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Some("host_unreachable"),
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Some("reset"),
            ErrorKind::TimedOut => Some(TIMEOUT),
            _ => None,
        };
    }
    let text = error.to_string();
    if text.contains("dns error") || text.contains("failed to lookup address") {
        Some("dns")
    } else if text.contains("deadline has elapsed") || text.contains("operation timed out") {
        Some(TIMEOUT)
    } else if text.contains("connection closed before message completed")
        || text.contains("broken pipe")
    {
        Some("reset")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn nobody_listening_and_no_such_name_are_told_apart() {
        let client = crate::call::http_client();
        let refused = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
        assert_eq!(transport_kind(&refused), "refused");
        let unknown = client
            .get("http://no-such-host.invalid:80/")
            .send()
            .await
            .unwrap_err();
        assert_eq!(transport_kind(&unknown), "dns");
    }

    #[tokio::test]
    async fn a_connection_that_is_cut_is_a_reset() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_zero_linger().unwrap();
            drop(stream);
        });
        let cut = crate::call::http_client()
            .get(format!("http://{address}/"))
            .send()
            .await
            .unwrap_err();
        assert_eq!(transport_kind(&cut), "reset");
    }
}
