# What runs: which image, as whom, with which rights and within which limits.
package main

deny contains sprintf("%s: the image is not named by its digest: %v", [container.of, container.spec.image]) if {
	some container in containers
	not regex.match(`^[^@]+@sha256:[0-9a-f]{64}$`, container.spec.image)
}

deny contains sprintf("%s: the image has the tag latest", [container.of]) if {
	some container in containers
	regex.match(`:latest(@|$)`, container.spec.image)
}

deny contains sprintf("%s: it may run as root", [container.of]) if {
	some container in containers
	not runs_as_somebody(container)
}

# What a container says goes before what its pod says.
runs_as_somebody(container) if {
	pod := object.get(container.pod, "securityContext", {})
	own := object.get(container.spec, "securityContext", {})
	said := object.union(pod, own)
	said.runAsNonRoot == true
	said.runAsUser > 0
	object.get(said, "runAsGroup", 0) > 0
}

deny contains sprintf("%s: it is privileged", [container.of]) if {
	some container in containers
	container.spec.securityContext.privileged == true
}

deny contains sprintf("%s: allowPrivilegeEscalation is not false", [container.of]) if {
	some container in containers
	not container.spec.securityContext.allowPrivilegeEscalation == false
}

deny contains sprintf("%s: it keeps capabilities", [container.of]) if {
	some container in containers
	not drops_all(container)
}

drops_all(container) if {
	capabilities := container.spec.securityContext.capabilities
	"ALL" in capabilities.drop
	count(object.get(capabilities, "add", [])) == 0
}

deny contains sprintf("%s: its root can be written", [container.of]) if {
	some container in containers
	not container.spec.securityContext.readOnlyRootFilesystem == true
}

deny contains sprintf("%s: seccomp is not RuntimeDefault", [container.of]) if {
	some container in containers
	profiles := {profile |
		some context in [object.get(container.pod, "securityContext", {}), object.get(container.spec, "securityContext", {})]
		profile := context.seccompProfile.type
	}
	profiles != {"RuntimeDefault"}
}

deny contains sprintf("%s: no %s of %s", [container.of, kind, what]) if {
	some container in containers
	some kind in ["requests", "limits"]
	some what in ["cpu", "memory"]
	not container.spec.resources[kind][what]
}

deny contains sprintf("%s: it has a port of the machine", [container.of]) if {
	some container in containers
	some port in container.spec.ports
	port.hostPort
}

deny contains sprintf("%s: %s", [pod.of, right]) if {
	some pod in pods
	some right in ["hostNetwork", "hostPID", "hostIPC"]
	pod.spec[right] == true
}

deny contains sprintf("%s: the volume %s is a folder of the machine", [pod.of, volume.name]) if {
	some pod in pods
	some volume in pod.spec.volumes
	volume.hostPath
}

deny contains sprintf("%s: it runs as the default service account", [pod.of]) if {
	some pod in pods
	object.get(pod.spec, "serviceAccountName", "default") in ["", "default"]
}

deny contains sprintf("%s: somebody gets rights in the cluster, which no service needs", [title(manifest)]) if {
	some manifest in manifests
	manifest.kind in ["ClusterRoleBinding", "RoleBinding"]
}

deny contains sprintf("%s: a token for the cluster's API is mounted", [pod.of]) if {
	some pod in pods
	not pod.spec.automountServiceAccountToken == false
}
