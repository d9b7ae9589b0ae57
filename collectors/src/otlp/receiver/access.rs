//! Who may send: the bearer token.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::refusal::Refusal;

/// Lets everybody in when there is no token, else who shows it.
pub(super) fn check(token: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = token else {
        return Ok(());
    };
    let shown = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, shown) = value.as_bytes().split_at_checked(7)?;
        scheme
            .eq_ignore_ascii_case(b"bearer ")
            .then(|| shown.trim_ascii())
    });
    match shown {
        Some(shown) if same(shown, token.as_bytes()) => Ok(()),
        _ => Err(Refusal::Unauthenticated),
    }
}

/// Takes as long for a near miss as for a far one.
fn same(shown: &[u8], token: &[u8]) -> bool {
    let mut difference = u8::from(shown.len() != token.len());
    for (at, byte) in shown.iter().enumerate() {
        difference |= byte ^ token[at % token.len()];
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::{check, same};
    use http::HeaderMap;

    fn with(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", http::HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn only_the_token_opens() {
        assert!(check(None, &HeaderMap::new()).is_ok());
        assert!(check(Some("s3cret"), &HeaderMap::new()).is_err());
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert!(check(Some("s3cret"), &with(good)).is_ok(), "{good}");
        }
        for bad in [
            "s3cret",
            "Basic s3cret",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer s3creT",
        ] {
            assert!(check(Some("s3cret"), &with(bad)).is_err(), "{bad}");
        }
        assert!(!same(b"abab", b"ab"));
    }
}
