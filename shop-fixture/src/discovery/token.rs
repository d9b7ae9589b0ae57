//! Owns the tokens with which instances show the registry who they are: issued for a label and an end of validity, and
//! checked without asking anybody.

use sha2::{Digest, Sha256};

/// How long a token holds once it is issued; each call carries a fresh one.
pub const VALIDITY_S: u64 = 3_600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not readable")]
    Malformed,
    #[error("the token was not issued here")]
    Forged,
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed | Self::Forged => "TOKEN_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
        }
    }
}

#[must_use]
pub fn issue(secret: &str, label: &str, expires_s: u64) -> String {
    format!("{label}.{expires_s}.{}", seal(secret, label, expires_s))
}

/// Whose token it is, if it holds at `now_s`.
pub fn check<'a>(secret: &str, token: &'a str, now_s: u64) -> Result<&'a str, TokenError> {
    let (rest, sealed) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (label, expires) = rest.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let expires_s: u64 = expires.parse().map_err(|_| TokenError::Malformed)?;
    if sealed != seal(secret, label, expires_s) {
        return Err(TokenError::Forged);
    }
    if expires_s <= now_s {
        return Err(TokenError::Expired);
    }
    Ok(label)
}

/// Hashed twice around the secret, so that nothing can be appended to what was sealed.
fn seal(secret: &str, label: &str, expires_s: u64) -> String {
    let inner = Sha256::digest(format!("{secret}/{label}/{expires_s}"));
    let outer = Sha256::new_with_prefix(secret)
        .chain_update(inner)
        .finalize();
    outer
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_secret_until_its_end() {
        let token = issue("s", "payment-0", 100);
        assert_eq!(check("s", &token, 99), Ok("payment-0"));
        assert_eq!(check("s", &token, 100), Err(TokenError::Expired));
        assert_eq!(check("t", &token, 99), Err(TokenError::Forged));
        let later = token.replace(".100.", ".200.");
        assert_eq!(check("s", &later, 99), Err(TokenError::Forged));
        assert_eq!(check("s", "payment-0", 99), Err(TokenError::Malformed));
        assert_eq!(check("s", "a.b.c", 99), Err(TokenError::Malformed));
    }
}
