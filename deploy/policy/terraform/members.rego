# Who may: never everybody, never as owner or editor, never as an account that comes with the project or by a key of its own.
package terraform

import rego.v1

everybody := {"allUsers", "allAuthenticatedUsers"}

primitive := {"roles/owner", "roles/editor"}

defaults := {"compute@developer.gserviceaccount.com", "@appspot.gserviceaccount.com", "@cloudbuild.gserviceaccount.com"}

texts contains {"path": path, "text": text} if {
	some path, text
	walk(input, [path, text])
	is_string(text)
}

place(path) := concat(".", [sprintf("%v", [step]) | some step in path])

deny contains msg if {
	some found in texts
	some member in everybody
	contains(found.text, member)
	msg := sprintf("%s: %s is everybody on the internet; name a group", [place(found.path), member])
}

deny contains msg if {
	some found in texts
	some role in primitive
	contains(found.text, role)
	msg := sprintf("%s: %s may do almost anything; give the roles that the work needs", [place(found.path), role])
}

deny contains msg if {
	some found in texts
	some ending in defaults
	contains(found.text, ending)
	msg := sprintf("%s: %s is a default service account; make one for the service", [place(found.path), ending])
}

deny contains msg if {
	some kind in {"google_compute_default_service_account", "google_app_engine_default_service_account"}
	input.data[kind]
	msg := sprintf("data.%s: is a default service account; make one for the service", [kind])
}

runs := {"google_cloud_run_v2_service", "google_cloud_run_v2_job", "google_cloud_run_v2_worker_pool"}

deny contains msg if {
	some kind in runs
	some name, bodies in input.resource[kind]
	some body in bodies
	not account(body)
	msg := sprintf("%s.%s: has no service_account, so it runs as the default one; make one for the service", [kind, name])
}

account(body) if body.template[_].service_account

account(body) if body.template[_].template[_].service_account

deny contains msg if {
	some name, _ in input.resource.google_service_account_key
	msg := sprintf("google_service_account_key.%s: is a key that lasts; use workload identity federation", [name])
}

deny contains msg if {
	some name, bodies in input.resource.google_iam_workload_identity_pool_provider
	some body in bodies
	not body.attribute_condition
	msg := sprintf("google_iam_workload_identity_pool_provider.%s: has no attribute_condition, so any repository of GitHub is let in", [name])
}

# What an expression comes to is not seen here.
deny contains msg if {
	some name, bodies in input.resource.google_iam_workload_identity_pool_provider
	some body in bodies
	not startswith(body.attribute_condition, "${")
	not contains(body.attribute_condition, "assertion.repository")
	msg := sprintf("google_iam_workload_identity_pool_provider.%s: its attribute_condition names no repository, so any of GitHub is let in", [name])
}
