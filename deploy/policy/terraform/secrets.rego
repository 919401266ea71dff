# What nobody else may know is in Secret Manager, and comes to a container as a file. Terraform sees none of it: its state and
# its plans are read by many.
package terraform

import rego.v1

password_in_url := `[a-z][a-z0-9+.-]*://[^/:@\s]*:[^/@\s]+@`

secret_name := `(?i)(password|passwd|passphrase|(^|_)pass|(^|_)pwd|secret|token|api_?keys?|auth_string|private_key|credentials?|decision_log)$`

deny contains msg if {
	some found in texts
	regex.match(password_in_url, found.text)
	msg := sprintf("%s: has a password in a URL; let the service log in with its account, or mount the whole URL as a secret", [place(found.path)])
}

# As a block of a container, or as an entry of a map that becomes one.
deny contains msg if {
	some path, block
	walk(input, [path, block])
	in_environment(path)
	is_object(block)
	regex.match(secret_name, block.name)
	block.value
	msg := sprintf("%s: %s is in plain sight in the environment; mount it as a secret", [place(path), block.name])
}

deny contains msg if {
	some found in texts
	in_environment(found.path)
	name := found.path[count(found.path) - 1]
	regex.match(`^[A-Z][A-Z0-9_]*$`, name)
	regex.match(secret_name, name)
	msg := sprintf("%s: is in plain sight in the environment; mount it as a secret", [place(found.path)])
}

deny contains msg if {
	some path, block
	walk(input, [path, block])
	is_object(block)
	block.secret_key_ref
	msg := sprintf("%s: hands a secret to the environment, which every child process and crash report has; mount it as a file", [place(path)])
}

deny contains msg if {
	some kind in {"google_secret_manager_secret_version", "google_secret_manager_regional_secret_version"}
	some name, _ in input.resource[kind]
	msg := sprintf("%s.%s: puts a secret into Terraform's state; add it with gcloud secrets versions add", [kind, name])
}

deny contains msg if {
	some kind in {"google_sql_user", "google_sql_database_instance"}
	some name, bodies in input.resource[kind]
	some body in bodies
	some attribute in {"password", "root_password"}
	body[attribute]
	msg := sprintf("%s.%s: has a %s, which is in Terraform's state; use IAM authentication", [kind, name, attribute])
}

in_environment(path) if "env" in path
