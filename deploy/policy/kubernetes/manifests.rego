# The manifests that are checked, in the shapes that the rules want: `conftest test --combine` hands over all of them at once.
package main

manifests contains entry.contents if {
	some entry in input
	entry.contents.kind
}

title(manifest) := sprintf("%s %s", [manifest.kind, manifest.metadata.name])

# Each pod, or template of pods.
pods contains {"of": title(manifest), "labels": object.get(manifest.metadata, "labels", {}), "spec": manifest.spec} if {
	some manifest in manifests
	manifest.kind == "Pod"
}

pods contains {"of": title(manifest), "labels": object.get(template, ["metadata", "labels"], {}), "spec": template.spec} if {
	some manifest in manifests
	template := manifest.spec.template
	template.spec.containers
}

pods contains {"of": title(manifest), "labels": object.get(template, ["metadata", "labels"], {}), "spec": template.spec} if {
	some manifest in manifests
	template := manifest.spec.jobTemplate.spec.template
}

containers contains {"of": sprintf("%s, container %s", [pod.of, container.name]), "spec": container, "pod": pod.spec} if {
	some pod in pods
	some kind in ["containers", "initContainers", "ephemeralContainers"]
	some container in pod.spec[kind]
}

network_policies contains manifest if {
	some manifest in manifests
	manifest.kind == "NetworkPolicy"
}

selects_all(selector) if {
	count(object.get(selector, "matchLabels", {})) == 0
	count(object.get(selector, "matchExpressions", [])) == 0
}

# Whether a selector finds what has these labels. An operator that is not known here finds nothing.
selects(selector, labels) if {
	every key, value in object.get(selector, "matchLabels", {}) {
		labels[key] == value
	}
	every expression in object.get(selector, "matchExpressions", []) {
		expression.operator == "In"
		labels[expression.key] in expression.values
	}
}
