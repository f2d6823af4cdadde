//! An OTLP collector inside the test process, over gRPC and over HTTP, that keeps what it is sent. Tests wait
//! for facts in it, never for time.

mod captured;
mod span;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub use captured::CapturedLogs;
pub use span::{CollectedSpan, Outcome, SpanKind, SpanRef};

/// A running collector; it ends when dropped. Clone it nowhere: hand out endpoints.
#[derive(Debug)]
pub struct Collector {
    grpc: SocketAddr,
    http: SocketAddr,
    received: Received,
    _servers: JoinSet<()>,
}

/// What was received; waiting tests are woken by every export.
#[derive(Debug, Clone)]
struct Received(Arc<watch::Sender<Vec<CollectedSpan>>>);

impl Collector {
    /// Starts one on two free ports of the loopback interface.
    ///
    /// # Panics
    ///
    /// When the loopback interface has no free port: a test cannot go on without.
    pub async fn start() -> Self {
        let received = Received(Arc::new(watch::Sender::new(Vec::new())));
        let (grpc_listener, grpc) = loopback().await;
        let (http_listener, http) = loopback().await;
        let mut servers = JoinSet::new();
        let service = TraceServiceServer::new(received.clone()).accept_compressed(CompressionEncoding::Gzip);
        servers.spawn(async move {
            let served =
                Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(grpc_listener));
            served.await.expect("the collector serves gRPC");
        });
        let router = Router::new().route("/v1/traces", post(receive_over_http)).with_state(received.clone());
        servers.spawn(async move {
            axum::serve(http_listener, router).await.expect("the collector serves HTTP");
        });
        Self { grpc, http, received, _servers: servers }
    }

    /// The endpoint for gRPC.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// The endpoint for HTTP, complete with the path.
    pub fn http_endpoint(&self) -> String {
        format!("http://{}/v1/traces", self.http)
    }

    /// Every span received so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.received.0.borrow().clone()
    }

    /// Waits until the spans received satisfy `enough`, and returns them.
    ///
    /// # Panics
    ///
    /// When they do not within `deadline`; the message lists the spans that came.
    pub async fn wait_for(
        &self,
        mut enough: impl FnMut(&[CollectedSpan]) -> bool,
        deadline: Duration,
    ) -> Vec<CollectedSpan> {
        let mut spans = self.received.0.subscribe();
        let waited = tokio::time::timeout(deadline, spans.wait_for(|spans| enough(spans))).await;
        match waited {
            Ok(Ok(spans)) => spans.clone(),
            Ok(Err(_)) | Err(_) => {
                panic!("not enough spans within {deadline:?}; received {:#?}", self.names())
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.received.0.borrow().iter().map(|span| span.name.clone()).collect()
    }
}

async fn loopback() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("a bound listener");
    (listener, addr)
}

impl Received {
    fn add(&self, request: ExportTraceServiceRequest) {
        let spans: Vec<_> = request.resource_spans.into_iter().flat_map(span::collected).collect();
        self.0.send_modify(|all| all.extend(spans));
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.add(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn receive_over_http(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => {
            received.add(request);
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}
