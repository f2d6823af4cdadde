//! The harness is tested like a product: if it leaves something behind or lies about being ready, every other test does.

use fleet_tests::rabbit::RabbitNode;

#[tokio::test]
async fn a_node_restarts_with_its_data_and_ports() {
    let mut node = RabbitNode::start().await.unwrap();
    let url = node.amqp_url("/");
    node.restart().await.unwrap();
    assert_eq!(url, node.amqp_url("/"));
}
