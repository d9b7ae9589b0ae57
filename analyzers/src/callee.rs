//! Whom a call went to, as far as the calling span says.

use case::model::{Span, Value};

/// The other side of a client or producer span.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A store: its system (`sqlite`, `redis`), and the database if it has a name.
    Store { system: String, name: String },
    /// A message broker: its system and the destination.
    Broker { system: String, destination: String },
    /// A service the span names (`peer.service`).
    Named(String),
    /// An address, `host:port`.
    Address(String),
    /// It does not say.
    Unknown,
}

impl Target {
    pub fn of(span: &Span) -> Target {
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| span.attributes.get(name))
                .map(Value::to_string)
                .filter(|text| !text.is_empty())
        };
        if let Some(system) = text(&["db.system.name", "db.system"]) {
            return Target::Store {
                system,
                name: text(&["db.namespace", "db.name"]).unwrap_or_default(),
            };
        }
        if let Some(system) = text(&["messaging.system"]) {
            return Target::Broker {
                system,
                destination: text(&["messaging.destination.name", "messaging.destination"])
                    .unwrap_or_default(),
            };
        }
        if let Some(name) = text(&["peer.service", "service.peer.name"]) {
            return Target::Named(name);
        }
        address(span).map_or(Target::Unknown, Target::Address)
    }
}

/// `host:port` of the server a span is about, under current and older names: the called one for a client, its own for a
/// server.
pub fn address(span: &Span) -> Option<String> {
    let first = |names: &[&str]| names.iter().find_map(|name| span.attributes.get(name));
    let host = first(&["server.address", "net.peer.name", "network.peer.address"])
        .map(Value::to_string)
        .filter(|host| !host.is_empty());
    let Some(host) = host else {
        return first(&["url.full", "http.url"])
            .and_then(Value::as_text)
            .and_then(authority)
            .map(str::to_owned);
    };
    Some(
        match first(&["server.port", "net.peer.port", "network.peer.port"]) {
            Some(port) => format!("{host}:{port}"),
            None => host,
        },
    )
}

/// The `host:port` within a URL.
fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then_some(host)
}

/// The package and service of an RPC named `package.Service/Method`, if that is what a span's name looks like.
pub fn rpc_service(name: &str) -> Option<&str> {
    let (service, method) = name.rsplit_once('/')?;
    let one_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    (one_word(service) && one_word(method) && !service.starts_with('/')).then_some(service)
}

/// What went wrong with a call, in a word: `error.type`, else the code it was answered with, else the status message,
/// else `error`.
pub fn error_kind(span: &Span) -> String {
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| span.attributes.get(name))
            .map(Value::to_string)
            .filter(|text| !text.is_empty())
    };
    first(&[
        "error.type",
        "http.response.status_code",
        "http.status_code",
        "rpc.response.status_code",
        "rpc.grpc.status_code",
        "rpc.status_code",
    ])
    .or_else(|| (!span.status_message.is_empty()).then(|| span.status_message.clone()))
    .unwrap_or_else(|| "error".to_owned())
}

#[cfg(test)]
mod tests {
    use case::model::Attributes;

    use super::*;

    fn span(pairs: &[(&str, &str)]) -> Span {
        Span {
            attributes: Attributes(
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned())))
                    .collect(),
            ),
            ..Span::default()
        }
    }

    #[test]
    fn stores_brokers_and_addresses_are_told_apart() {
        let store = Target::of(&span(&[("db.system", "redis"), ("server.address", "h")]));
        assert_eq!(
            store,
            Target::Store {
                system: "redis".into(),
                name: String::new()
            }
        );
        assert_eq!(
            Target::of(&span(&[
                ("messaging.system", "nats"),
                ("messaging.destination.name", "a")
            ])),
            Target::Broker {
                system: "nats".into(),
                destination: "a".into()
            }
        );
        assert_eq!(
            Target::of(&span(&[("net.peer.name", "h"), ("net.peer.port", "9")])),
            Target::Address("h:9".into())
        );
        assert_eq!(Target::of(&span(&[])), Target::Unknown);
        assert_eq!(
            Target::of(&span(&[("url.full", "http://u:p@127.0.0.1:80/x?y")])),
            Target::Address("127.0.0.1:80".into())
        );
        assert_eq!(
            Target::of(&span(&[("peer.service", "pay")])),
            Target::Named("pay".into())
        );
    }

    #[test]
    fn an_rpc_is_known_by_its_name() {
        assert_eq!(
            rpc_service("payments.v1.PaymentsService/Refund"),
            Some("payments.v1.PaymentsService")
        );
        assert_eq!(rpc_service("POST /api/v1/checkout"), None);
        assert_eq!(rpc_service("/x"), None);
        assert_eq!(rpc_service("saga execute"), None);
    }
}
