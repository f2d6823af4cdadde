"""What the pods may reach and who may reach them."""

import ipaddress

import chart
import pytest
from chart import CASES

# What nobody's build or job needs a pod to reach: Kubernetes, a cloud's metadata, neighbours.
INSIDE = ["10.96.0.1", "169.254.169.254", "172.20.0.1", "192.168.1.10", "100.100.100.200"]


def policy_of(files_or_documents):
    return chart.one(files_or_documents, "NetworkPolicy")["spec"]


def test_the_network_policy_lets_out_what_is_needed_and_nothing_else():
    policy = chart.one(chart.render(CASES["production"]), "NetworkPolicy")["spec"]
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[53, 53], [5672, 5671], [443], [4317]]
    assert policy["egress"][1]["to"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "harvest-rabbitmq"}}}]
    (ingress,) = policy["ingress"]
    assert ingress["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert ingress["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    pods = list(chart.pod_specs(chart.render(CASES["production"])))
    assert len(pods) == 5 and all(policy["podSelector"]["matchLabels"].items() <= labels.items() for _, labels, _ in pods)


def test_every_way_in_and_out_of_production_has_its_peers():
    policy = policy_of(chart.render(CASES["production"]))
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule.get("from") for rule in policy["ingress"])
    assert all(rule.get("to") for rule in policy["egress"]), "a rule without peers lets out to everywhere"


@pytest.mark.parametrize("address", INSIDE)
def test_https_of_production_reaches_nothing_inside(address):
    (peer,) = policy_of(chart.render(CASES["production"]))["egress"][2]["to"]
    block = peer["ipBlock"]
    assert any(ipaddress.ip_address(address) in ipaddress.ip_network(each) for each in block["except"])


def test_metrics_are_for_whoever_is_named_and_else_for_nobody():
    nobody = policy_of(chart.minimal(networkPolicy__enabled=True))
    assert nobody["ingress"] == [] and "Ingress" in nobody["policyTypes"]
    named = policy_of(chart.minimal(networkPolicy__enabled=True, networkPolicy__metricsFrom=[{"podSelector": {"matchLabels": {"a": "b"}}}]))
    assert named["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}], "from": [{"podSelector": {"matchLabels": {"a": "b"}}}]}]
    # What is added by hand opens no metrics to others.
    added = policy_of(chart.minimal(networkPolicy__enabled=True, networkPolicy__extraIngress=[{"from": [{"podSelector": {}}]}]))
    assert added["ingress"] == [{"from": [{"podSelector": {}}]}]


@pytest.mark.parametrize("value, rule", [("dnsTo", 0), ("amqpTo", 1), ("httpsTo", 2), ("otlpTo", 3)])
def test_each_way_out_is_narrowed_by_its_own_value(value, rule):
    peers = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    values = {f"networkPolicy__{value}": peers}
    policy = policy_of(chart.minimal(networkPolicy__enabled=True, otlp__endpoint="http://c:4317", **values))
    assert [each.get("to") for each in policy["egress"]] == [peers if index == rule else None for index in range(4)]


@pytest.mark.parametrize("endpoint, port", [("http://c:4318", 4318), ("https://c.example.com/v1", 443), ("http://c", 80)])
def test_the_collectors_port_is_read_from_its_url(endpoint, port):
    policy = chart.one(chart.minimal(networkPolicy__enabled=True, otlp__endpoint=endpoint), "NetworkPolicy")["spec"]
    assert policy["egress"][3]["ports"] == [{"port": port, "protocol": "TCP"}]
