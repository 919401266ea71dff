# Who reaches whom: nobody but those whom a policy names.
package main

deny contains sprintf("%s: it is open to the outside as a %s", [title(manifest), manifest.spec.type]) if {
	some manifest in manifests
	manifest.kind == "Service"
	manifest.spec.type in ["LoadBalancer", "NodePort"]
}

deny contains sprintf("%s: it has addresses outside", [title(manifest)]) if {
	some manifest in manifests
	manifest.kind == "Service"
	count(object.get(manifest.spec, "externalIPs", [])) > 0
}

deny contains sprintf("%s: no NetworkPolicy closes its %s", [pod.of, direction]) if {
	some pod in pods
	some direction in ["Ingress", "Egress"]
	not closed(pod, direction)
}

closed(pod, direction) if {
	some policy in network_policies
	direction in policy.spec.policyTypes
	selects(policy.spec.podSelector, pod.labels)
}

deny contains sprintf("%s: anybody may come in", [title(policy)]) if {
	some policy in network_policies
	some rule in policy.spec.ingress
	count(object.get(rule, "from", [])) == 0
}

deny contains sprintf("%s: it may go anywhere", [title(policy)]) if {
	some policy in network_policies
	some rule in policy.spec.egress
	count(object.get(rule, "to", [])) == 0
}

# Two halves are the whole: no network of anybody's own is larger than 10.0.0.0/8.
deny contains sprintf("%s: the internet may come in", [title(policy)]) if {
	some policy in network_policies
	some rule in policy.spec.ingress
	some peer in rule.from
	to_number(split(peer.ipBlock.cidr, "/")[1]) < 8
}

deny contains sprintf("%s: the whole cluster may come in", [title(policy)]) if {
	some policy in network_policies
	some rule in policy.spec.ingress
	some peer in rule.from
	selects_all(peer.namespaceSelector)
	selects_all(object.get(peer, "podSelector", {}))
}
