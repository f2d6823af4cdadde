//! What a git host is shown of a credential: one header, hidden from every log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// The user that hosts expect beside a token when none was given.
const TOKEN_USER: &str = "x-access-token";

/// A user and token for HTTP Basic authentication.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The user; `x-access-token` if none.
    pub user: Option<String>,
    /// The token or password.
    pub token: SecretString,
}

impl Credential {
    /// The header that carries it.
    pub(crate) fn header(&self) -> HeaderValue {
        let user = self.user.as_deref().unwrap_or(TOKEN_USER);
        let encoded = STANDARD.encode(format!("{user}:{}", self.token.expose_secret()));
        let header = HeaderValue::from_str(&format!("Basic {encoded}"));
        // Base64 has no character that a header can't carry.
        let mut header = header.unwrap_or_else(|_| HeaderValue::from_static("Basic"));
        header.set_sensitive(true);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_and_the_credential_hide_the_token() {
        let credential = Credential { user: None, token: "s3cret".into() };
        assert_eq!(credential.header(), "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0");
        let shown = format!("{:?} {credential:?}", credential.header());
        assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    }
}
