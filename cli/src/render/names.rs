//! Short names for things with long ones.

use case::TraceId;
use case::model::{Attributes, Span, Value};

/// The first characters of a trace id: enough to tell a few dozen apart by eye.
pub fn short_trace(id: TraceId) -> String {
    let text = id.to_string();
    format!("{}…{}", &text[..4], &text[28..])
}

/// The beginning of a text: more than is ever shown in a row, so that megabytes are not gone through for each of them.
pub fn brief(text: &str) -> &str {
    const LONGEST: usize = 400;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}

/// A service's name, or a dash for a sender that did not say.
pub fn service(name: &str) -> &str {
    if name.is_empty() {
        "(no service name)"
    } else {
        name
    }
}

/// An instance's id without the UUID at its end, which nobody reads: what is left is still the beginning of the id.
pub fn instance(id: &str) -> &str {
    const UUID: [usize; 5] = [8, 4, 4, 4, 12];
    let mut rest = id;
    for digits in UUID.iter().rev() {
        match rest.rsplit_once('-') {
            Some((before, part))
                if part.len() == *digits && part.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                rest = before;
            }
            _ => return id,
        }
    }
    if rest.is_empty() { id } else { rest }
}

/// A text with the UUIDs in it cut to their first four digits, where they follow a name: nobody reads them, and what is
/// left tells instances apart.
pub fn without_uuids(text: &str) -> String {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    const LENGTH: usize = 36;
    let is_uuid =
        |text: &str| {
            text.len() >= LENGTH
                && text.bytes().take(LENGTH).enumerate().all(|(at, byte)| {
                    match DASHES.contains(&at) {
                        true => byte == b'-',
                        false => byte.is_ascii_hexdigit(),
                    }
                })
        };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('-') {
        let behind = &rest[at + 1..];
        out.push_str(&rest[..=at]);
        rest = behind;
        if is_uuid(behind) {
            out.push_str(&behind[..4]);
            out.push('…');
            rest = &behind[LENGTH..];
        }
    }
    out.push_str(rest);
    out
}

/// The code a call was answered with, under its current or older names: HTTP as it is, gRPC only when it is not OK.
pub fn status_code(attributes: &Attributes) -> Option<String> {
    let first = |names: &[&str]| names.iter().find_map(|name| attributes.get(name));
    if let Some(code) = first(&["http.response.status_code", "http.status_code"]) {
        return Some(code.to_string());
    }
    first(&[
        "rpc.response.status_code",
        "rpc.status_code",
        "rpc.grpc.status_code",
    ])
    .filter(|code| !matches!(code, Value::Int(0)) && code.as_text() != Some("OK"))
    .map(Value::to_string)
}

/// `host:port` a client span called, if it says so.
pub fn callee_address(span: &Span) -> Option<String> {
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| span.attributes.get(name))
            .map(Value::to_string)
    };
    let host = text(&["server.address", "net.peer.name", "network.peer.address"])?;
    match text(&["server.port", "net.peer.port", "network.peer.port"]) {
        Some(port) => Some(format!("{host}:{port}")),
        None => Some(host),
    }
}

/// An operation's name in at most `room` columns if it can be had by leaving out the package of an RPC:
/// `payments.v1.PaymentsService/ProcessPayment` as `PaymentsService/ProcessPayment`.
pub fn operation(name: &str, room: usize) -> &str {
    if crate::output::width::columns(name) <= room || name.contains(char::is_whitespace) {
        return name;
    }
    let service_end = name.find('/').unwrap_or(0);
    match name[..service_end].rfind('.') {
        Some(dot) => &name[dot + 1..],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::{instance, operation, without_uuids};

    #[test]
    fn an_instance_goes_by_what_stands_before_its_uuid() {
        let id = "payment-vm-41083-d9fdac48-7318-4d94-a929-ab865b890341";
        assert_eq!(instance(id), "payment-vm-41083");
        assert_eq!(instance("payment-2"), "payment-2");
        assert_eq!(
            instance("d9fdac48-7318-4d94-a929-ab865b890341"),
            "d9fdac48-7318-4d94-a929-ab865b890341"
        );
    }

    #[test]
    fn uuids_are_cut_in_a_text() {
        let id = "payment-vm-41083-d9fdac48-7318-4d94-a929-ab865b890341";
        assert_eq!(
            without_uuids(&format!("{id} calls {id}: 3-4")),
            "payment-vm-41083-d9fd… calls payment-vm-41083-d9fd…: 3-4"
        );
        for same in ["", "a-b-c", "deadbeef-dead", "支付-支付", "-"] {
            assert_eq!(without_uuids(same), same);
        }
    }

    #[test]
    fn the_package_goes_before_the_method_does() {
        let name = "payments.v1.PaymentsService/ProcessPayment";
        assert_eq!(operation(name, 60), name);
        assert_eq!(operation(name, 34), "PaymentsService/ProcessPayment");
        assert_eq!(operation("GET /a.b/c and more", 5), "GET /a.b/c and more");
        assert_eq!(operation("plain", 2), "plain");
        assert_eq!(operation("/x.y", 1), "/x.y");
    }
}
