//! Sections of settings for tests that use a library without a program: every value is said here.

use std::time::Duration;

use broker::BrokerSection;
use daytona::{ClientSettings, DaytonaSection};

/// Times that hold on a busy machine, and a heartbeat that notices a frozen node within a test.
pub(crate) fn broker() -> BrokerSection {
    BrokerSection {
        publish_timeout: Duration::from_secs(5),
        heartbeat: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(30),
    }
}

/// The Daytona API at `url`, in its default region.
pub(crate) fn daytona(url: &str, key: &str) -> ClientSettings {
    let section = DaytonaSection {
        api_url: url.parse().unwrap(),
        target: String::new(),
        request_timeout: Duration::from_secs(30),
        refused_key_pause: Duration::from_secs(30),
    };
    ClientSettings::new(section, key.into())
}
