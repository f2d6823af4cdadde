use super::*;

fn topology() -> Topology {
    let delays = [Duration::from_mins(2), Duration::from_secs(30), Duration::from_mins(90)];
    Topology::new(&"demo".parse().unwrap(), &delays)
}

#[test]
fn the_drawing() {
    insta::assert_snapshot!(topology().to_markdown());
}

#[test]
fn a_wait_is_rounded_up_to_a_delay_queue() {
    let topology = topology();
    let name = |seconds| topology.retries_for(Duration::from_secs(seconds)).next().unwrap().name.clone();
    assert_eq!(name(0), "harvest.demo.retry.30s");
    assert_eq!(name(31), "harvest.demo.retry.2m");
    assert_eq!(name(86_400), "harvest.demo.retry.1h30m");
}

#[test]
fn bindings_join_what_is_declared_and_fleets_share_nothing() {
    let (ours, theirs) = (topology(), Topology::new(&"other".parse().unwrap(), &[Duration::from_secs(30)]));
    for binding in ours.bindings() {
        assert!(ours.exchanges().iter().any(|exchange| exchange.name == binding.exchange));
        assert!(ours.queues().iter().any(|queue| queue.name == binding.queue));
    }
    for queue in ours.queues() {
        assert!(theirs.queues().iter().all(|other| other.name != queue.name));
    }
}
