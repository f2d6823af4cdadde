//! A repository's URL as it may be shown.

use std::fmt;

use url::Url;

/// A URL without user, password, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownUrl(String);

impl ShownUrl {
    /// What may be shown of `url`.
    pub fn of(url: &Url) -> Self {
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        let userinfo = !shown.username().is_empty() || shown.password().is_some();
        // Fails only where the scheme has no user, and then there is none to hide.
        let hidden = shown.set_username("").is_ok() && shown.set_password(None).is_ok();
        if userinfo && !hidden {
            return Self(format!("{}:…", url.scheme()));
        }
        Self(shown.into())
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
