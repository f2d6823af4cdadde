use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::{HealthcheckError, healthcheck};

struct Served {
    endpoint: Endpoint,
    health: Health,
    shutdown: Shutdown,
}

async fn serve() -> Served {
    let listener = crate::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let render = || "harvest_up 1\n".to_owned();
    let endpoint =
        Endpoint::serve(listener, health.clone(), render, shutdown.clone()).expect("a bound listener");
    Served { endpoint, health, shutdown }
}

impl Served {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.endpoint.local_addr())
    }

    /// The whole answer and its status, asked the way any HTTP client would.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.endpoint.local_addr()).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, answer)
    }

    async fn get_json(&self, path: &str) -> (u16, Value) {
        let (status, answer) = self.get(path).await;
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        (status, serde_json::from_str(body).expect("JSON"))
    }
}

#[tokio::test]
async fn readyz_lists_each_condition_and_says_503_until_all_hold() {
    let served = serve().await;
    let amqp = served.health.condition("amqp");
    served.health.condition("daytona").set(Readiness::Ready, "answers");

    let (status, body) = served.get_json("/readyz").await;
    assert_eq!((status, &body["status"]), (503, &json!("not_ready")));
    assert_eq!(body["conditions"]["amqp"], json!({ "state": "not_ready", "reason": "starting" }));
    assert_eq!(body["conditions"]["daytona"], json!({ "state": "ready", "reason": "answers" }));

    amqp.set(Readiness::Ready, "connected");
    let (status, body) = served.get_json("/readyz").await;
    assert_eq!((status, &body["status"]), (200, &json!("ready")));
}

#[tokio::test]
async fn a_drain_makes_it_unready_but_not_dead() {
    let served = serve().await;
    served.shutdown.drain();
    let (status, body) = served.get_json("/readyz").await;
    assert_eq!((status, &body["status"]), (503, &json!("draining")));
    assert_eq!(served.get("/healthz").await.0, 200);
    assert_eq!(served.get("/metrics").await.0, 200);
}

#[tokio::test]
async fn a_lost_broker_never_makes_it_dead() {
    let served = serve().await;
    served.health.condition("amqp").set(Readiness::NotReady, "connection refused");
    assert_eq!(served.get("/healthz").await.0, 200);
    healthcheck(&served.url("/healthz")).await.expect("alive");
}

#[tokio::test]
async fn a_stalled_loop_makes_it_dead_and_is_named() {
    let served = serve().await;
    let _consume = served.health.heartbeat("consume", Duration::ZERO);
    let error = healthcheck(&served.url("/healthz")).await.expect_err("stalled");
    let HealthcheckError::Unhealthy { status, body, .. } = error else { panic!("{error:?}") };
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["heartbeats"]["consume"]["state"], "stalled");
}

#[tokio::test]
async fn metrics_are_what_the_program_renders() {
    let served = serve().await;
    let (status, answer) = served.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(answer.to_lowercase().contains(&format!("content-type: {METRICS_TYPE}")), "{answer}");
    assert!(answer.ends_with("\r\n\r\nharvest_up 1\n"), "{answer}");
}

#[tokio::test]
async fn other_paths_are_not_found() {
    assert_eq!(serve().await.get("/").await.0, 404);
}

#[tokio::test]
async fn a_stopped_endpoint_frees_its_port_even_with_an_idle_client() {
    let served = serve().await;
    let addr = served.endpoint.local_addr();
    let _idle = TcpStream::connect(addr).await.expect("connect");
    served.endpoint.stop().await;
    TcpStream::connect(addr).await.expect_err("nobody listens any more");
}
