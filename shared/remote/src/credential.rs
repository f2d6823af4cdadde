//! What a git host is shown, and to which host it may be shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

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

/// Whether a credential given for `from` may follow a redirect to `to`: the same host and port, or the same
/// host moving up from plain HTTP to HTTPS on their usual ports.
pub(crate) fn may_follow(from: &Url, to: &Url) -> bool {
    let ports = (from.port_or_known_default(), to.port_or_known_default());
    from.host() == to.host()
        && match (from.scheme(), to.scheme()) {
            ("http", "https") => ports == (Some(80), Some(443)),
            (before, after) => before == after && ports.0 == ports.1,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_follows_only_to_its_own_host() {
        for (from, to, expected) in [
            ("https://git.example/a", "https://git.example/b", true),
            ("https://git.example/a", "https://git.example:443/b", true),
            ("http://git.example/a", "https://git.example/a", true),
            ("https://git.example/a", "http://git.example/a", false),
            ("https://git.example/a", "https://git.example:8443/a", false),
            ("http://git.example:3000/a", "https://git.example/a", false),
            ("https://git.example/a", "https://evil.example/a", false),
            ("https://git.example/a", "https://git.example.evil.example/a", false),
        ] {
            let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
            assert_eq!(may_follow(&from, &to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn the_header_and_the_credential_hide_the_token() {
        let credential = Credential { user: None, token: "s3cret".into() };
        assert_eq!(credential.header(), "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0");
        let shown = format!("{:?} {credential:?}", credential.header());
        assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    }
}
