//! What a sandbox must not reach: the host, other sandboxes, the server's keys.

use sandboxd::Exposed;
use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn a_sandbox_sees_only_itself() {
    let server = Server::start().await;
    let client = &server.client;
    let (one, two) = (client.sandbox(&json!({})).await, client.sandbox(&json!({})).await);
    let data = server.data.path().display().to_string();
    std::fs::write(server.data.path().join("host-secret"), "host").unwrap();

    client.execute(&one, "echo mine > /tmp/mine; echo mine > /workspace/mine; setsid sleep 600 >/dev/null 2>&1 </dev/null &").await;
    let denied = format!(
        "cat /tmp/mine; cat /workspace/mine; ls /root; cat {data}/host-secret; ls /var/run/docker.sock; pgrep -x sleep; \
         cat /etc/shadow; grep -az SANDBOXD /proc/*/environ; ls /proc/{}; true",
        std::process::id(),
    );
    let (_, seen) = client.execute(&two, &format!("({denied}) 2>/dev/null")).await;
    assert_eq!(seen, "");
    assert_eq!(client.execute(&two, "id -u; id -un; id -g").await.1, "1001\nharvest\n1001\n");
    let (_, written) = client
        .execute(
            &two,
            "for f in /usr/x /etc/x /x /proc/sys/kernel/printk /proc/sysrq-trigger; do [ -w $f ] && echo $f; touch $f && echo $f; done 2>/dev/null",
        )
        .await;
    assert_eq!(written, "");
    server.end().await;
}

#[tokio::test]
async fn a_link_out_of_the_sandbox_leads_nowhere() {
    let server = Server::start().await;
    let client = &server.client;
    let id = client.sandbox(&json!({})).await;
    let secret = server.data.path().join("host-secret");
    std::fs::write(&secret, "host").unwrap();
    client.execute(&id, &format!("ln -s {} /workspace/link", secret.display())).await;
    let (status, answer) = client.get(&format!("/toolbox/{id}/files/download?path=/workspace/link")).await;
    assert_eq!(status, 404, "{answer}");
    server.end().await;
}

#[tokio::test]
async fn exposed_paths_are_seen_and_read_only() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("file"), "shown").unwrap();
    let path = here.path().display().to_string();
    let server = Server::start_with(|settings| {
        settings.expose_read_only =
            [path.clone(), format!("{path}:/opt/harvest"), format!("{path}/file:/app/docs/rules.md")]
                .iter()
                .map(|text| Exposed::parse(text).unwrap())
                .collect();
    })
    .await;
    let id = server.client.sandbox(&json!({})).await;
    for file in [&format!("{path}/file"), "/opt/harvest/file", "/app/docs/rules.md"] {
        let read = format!("cat {file}; (echo x > {file}) 2>/dev/null || echo refused");
        assert_eq!(server.client.execute(&id, &read).await.1, "shownrefused\n", "{file}");
    }
    let made = "for d in /opt /opt/harvest /app /app/docs; do touch $d/x && echo $d; done 2>/dev/null; true";
    assert_eq!(server.client.execute(&id, made).await.1, "");
    server.end().await;
}

#[test]
fn what_cannot_be_exposed_is_told() {
    let here = tempfile::tempdir().unwrap();
    let missing = here.path().join("missing").display().to_string();
    let not_found = format!("{missing} can't be found");
    for text in [missing.clone(), format!("{missing}:/app")] {
        assert_eq!(Exposed::parse(&text).unwrap_err().to_string(), not_found, "{text}");
    }
    for (text, says) in [
        (
            "/tmp:app",
            "a sandbox can't see something at `app`: name an absolute path below /, without `.` or `..`",
        ),
        ("/tmp:", "a sandbox can't see something at ``: name an absolute path below /, without `.` or `..`"),
        (
            "/tmp:/",
            "a sandbox can't see something at `/`: name an absolute path below /, without `.` or `..`",
        ),
        (
            "/tmp:/app/../etc",
            "a sandbox can't see something at `/app/../etc`: name an absolute path below /, without `.` or `..`",
        ),
    ] {
        assert_eq!(Exposed::parse(text).unwrap_err().to_string(), says, "{text}");
    }
}
