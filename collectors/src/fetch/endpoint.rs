//! Addresses: what a URL or a registry's `host:port` means, and which of them may be contacted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::FetchError;

/// Which addresses may be contacted. A registry is data: it must not send Casefile knocking anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Only this machine.
    #[default]
    Loopback,
    /// Wherever a name or number leads.
    Anywhere,
}

/// Host and port, as someone wrote them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    pub fn new(host: impl Into<String>, port: u16) -> HostPort {
        HostPort {
            host: host.into(),
            port,
        }
    }

    /// The socket addresses meant, those only that may be contacted.
    pub async fn resolve(&self, reach: Reach) -> Result<Vec<SocketAddr>, FetchError> {
        let found: Vec<SocketAddr> = if let Ok(ip) = self.host.parse::<IpAddr>() {
            vec![SocketAddr::new(ip, self.port)]
        } else if self.host.eq_ignore_ascii_case("localhost") {
            vec![
                (Ipv4Addr::LOCALHOST, self.port).into(),
                (Ipv6Addr::LOCALHOST, self.port).into(),
            ]
        } else if reach == Reach::Loopback {
            // Asking a name server is contacting someone, too.
            return Err(FetchError::NotAllowed(self.to_string()));
        } else {
            tokio::net::lookup_host((self.host.as_str(), self.port))
                .await
                .map_err(|error| FetchError::Unresolved(self.to_string(), error.to_string()))?
                .collect()
        };
        let allowed: Vec<SocketAddr> = found
            .iter()
            .copied()
            .filter(|address| reach == Reach::Anywhere || address.ip().to_canonical().is_loopback())
            .collect();
        match (allowed.is_empty(), found.is_empty()) {
            (false, _) => Ok(allowed),
            (true, true) => Err(FetchError::Unresolved(
                self.to_string(),
                "the name has no address".into(),
            )),
            (true, false) => Err(FetchError::NotAllowed(self.to_string())),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is no address that can be contacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {problem}")]
pub struct EndpointError {
    pub text: String,
    pub problem: &'static str,
}

fn bad(text: &str, problem: &'static str) -> EndpointError {
    EndpointError {
        text: text.chars().take(200).collect(),
        problem,
    }
}

impl FromStr for HostPort {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<HostPort, EndpointError> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| bad(text, "has no port: host:port is expected"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .ok_or_else(|| bad(text, "has a [ without ] around its IPv6 address"))?,
            None if host.contains(':') => return Err(bad(text, "is an IPv6 address without [ ]")),
            None => host,
        };
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.len() > 255 || !host.bytes().all(fine) {
            return Err(bad(text, "has no usable host"));
        }
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad(text, "has no usable port"));
        }
        match port.parse() {
            Ok(0) | Err(_) => Err(bad(text, "has a port outside 1 to 65535")),
            Ok(port) => Ok(HostPort::new(host, port)),
        }
    }
}

/// An `http://` URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub at: HostPort,
    /// Path and query, beginning with `/`.
    pub path: String,
}

impl Endpoint {
    pub fn new(at: HostPort, path: &str) -> Result<Endpoint, EndpointError> {
        if !path.starts_with('/')
            || path.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#')
            || path.len() > 4096
        {
            return Err(bad(
                path,
                "is no path: it must begin with / and hold no blanks or #",
            ));
        }
        Ok(Endpoint {
            at,
            path: path.to_owned(),
        })
    }

    /// The same host with this path put behind the path of `self`.
    pub fn join(&self, path: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new(
            self.at.clone(),
            &format!("{}{path}", self.path.trim_end_matches('/')),
        )
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(bad(
                    text,
                    "needs TLS, which scraping and watching don't speak: use http:// or a local proxy",
                ));
            }
            _ => return Err(bad(text, "is no http:// URL")),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return Err(bad(
                "",
                "URL holds a user name or password, which isn't supported",
            ));
        }
        let at = if authority.ends_with(']') || !authority.contains(':') {
            format!("{authority}:80").parse::<HostPort>()
        } else {
            authority.parse()
        }
        .map_err(|error| bad(text, error.problem))?;
        let path = if path.starts_with('?') {
            format!("/{path}")
        } else {
            path.to_owned()
        };
        Endpoint::new(at, &path).map_err(|error| bad(text, error.problem))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.at, self.path)
    }
}
