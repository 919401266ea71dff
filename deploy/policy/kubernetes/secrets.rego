# Secrets are files, from Secrets that the manifests only name.
package main

deny contains sprintf("%s: a Secret does not belong in manifests", [title(manifest)]) if {
	some manifest in manifests
	manifest.kind == "Secret"
}

deny contains sprintf("%s: the variable %s holds a secret", [container.of, variable.name]) if {
	some container in containers
	some variable in container.spec.env
	regex.match(`(?i)(password|passwd|passphrase|(^|_)(pass|pwd)$|secret|token|credential|api_?keys?$|auth_string|private_?key)`, variable.name)
	not regex.match(`_(FILE|DIR)$`, variable.name)
}

deny contains sprintf("%s: the argument %s is a secret", [container.of, split(argument, "=")[0]]) if {
	some container in containers
	some kind in ["args", "command"]
	some argument in container.spec[kind]
	regex.match(`(?i)^--?([a-z0-9]+[-_])*(password|passwd|passphrase|pass|pwd|secret|token|api[-_]?key)(=|$)`, argument)
}

deny contains sprintf("%s: a secret is a variable", [container.of]) if {
	some container in containers
	some variable in container.spec.env
	variable.valueFrom.secretKeyRef
}

deny contains sprintf("%s: a secret is a variable", [container.of]) if {
	some container in containers
	some source in container.spec.envFrom
	source.secretRef
}

deny contains sprintf("%s: an address has a password in it, at %s", [title(manifest), concat("/", [sprintf("%v", [key]) | some key in path])]) if {
	some manifest in manifests
	walk(manifest, [path, value])
	is_string(value)
	regex.match(`[a-z0-9+]://[^/\s:@]*:[^/\s@]+@`, value)
}
