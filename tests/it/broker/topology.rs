//! Connecting: what is wrong is said so that somebody can mend it.

use ::broker::ConnectError;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::*;

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_with_what_to_do() {
    let host = virtual_host().await;
    let fleet = fleet();
    let stranger = Stranger::at(&host.amqp_url()).await;
    let name = Topology::new(&fleet, &DELAYS).dead_queue();
    let options = QueueDeclareOptions::durable();
    stranger.channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
    let error = Broker::connect(settings(&host.amqp_url(), &fleet)).await.unwrap_err();
    let text = error_chain::line(&error);
    assert!(matches!(error, ConnectError::Topology(_)), "{text}");
    assert!(text.contains(&name) && text.contains("delete") && text.contains("inequivalent arg"), "{text}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once_and_never_shown() {
    let url = virtual_host().await.amqp_url().replace("guest:guest", "guest:hunter2");
    let settings = settings(&url, &fleet());
    let error = Broker::connect(settings).await.unwrap_err();
    let text = format!("{error:?} {}", error_chain::line(&error));
    assert!(matches!(error, ConnectError::Refused { .. }), "{text}");
    assert!(text.contains("AMQP_URL") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn nobody_listening_is_said_within_the_bound() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut settings = settings(&format!("amqp://guest:hunter2@{address}/%2f"), &fleet());
    settings.section.connect_timeout = Duration::from_secs(1);
    let result = tokio::time::timeout(SOON, Broker::connect(settings)).await.unwrap();
    let error = result.unwrap_err();
    let text = error_chain::line(&error);
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{text}");
    assert!(text.contains(&address.to_string()) && text.contains("AMQP_URL"), "{text}");
    assert!(!text.contains("hunter2"));
}

#[tokio::test]
async fn declarations_can_be_repeated_and_a_closed_handle_is_quiet() {
    let host = virtual_host().await;
    let fleet = fleet();
    let one = connect_to(&host.amqp_url(), &fleet).await;
    let other = connect_to(&host.amqp_url(), &fleet).await;
    submit(&one, WorkQueue::Refresh).await;
    ack(take(&mut other.slot()).await).await;
    one.close().await;
    assert!(one.slot().take(&CancellationToken::new()).await.is_none());
    other.close().await;
}
