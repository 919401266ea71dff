# What is open to others: nothing by itself. The internet comes in through Google's sign-in alone.
package terraform

import rego.v1

anywhere := {"0.0.0.0/0", "::/0"}

deny contains msg if {
	some name, bodies in input.resource.google_compute_firewall
	some body in bodies
	body.allow
	object.get(body, "direction", "INGRESS") == "INGRESS"
	some range in body.source_ranges
	range in anywhere
	msg := sprintf("google_compute_firewall.%s: lets in everybody from %s; name the addresses", [name, range])
}

# Google then puts in 0.0.0.0/0.
deny contains msg if {
	some name, bodies in input.resource.google_compute_firewall
	some body in bodies
	body.allow
	object.get(body, "direction", "INGRESS") == "INGRESS"
	every source in {"source_ranges", "source_tags", "source_service_accounts"} {
		not body[source]
	}
	msg := sprintf("google_compute_firewall.%s: names no source, so it lets in everybody; name the addresses", [name])
}

deny contains msg if {
	some path, block
	walk(input, [path, block])
	path[count(path) - 2] == "authorized_networks"
	block.value in anywhere
	msg := sprintf("%s: a database open to %s; give it a private address alone", [place(path), block.value])
}

deny contains msg if {
	some name, bodies in input.resource.google_sql_database_instance
	some configuration in bodies[_].settings[_].ip_configuration
	object.get(configuration, "ipv4_enabled", true) != false
	msg := sprintf("google_sql_database_instance.%s: has a public address; set ipv4_enabled = false", [name])
}

deny contains msg if {
	some name, bodies in input.resource.google_storage_bucket
	some body in bodies
	object.get(body, "public_access_prevention", "") != "enforced"
	msg := sprintf("google_storage_bucket.%s: can be opened to everybody; set public_access_prevention = \"enforced\"", [name])
}

deny contains msg if {
	some name, bodies in input.resource.google_storage_bucket
	some body in bodies
	object.get(body, "uniform_bucket_level_access", false) != true
	msg := sprintf("google_storage_bucket.%s: each object can have rights of its own; set uniform_bucket_level_access = true", [name])
}

# A retention policy keeps each object as it is, and Google takes no versions beside one.
deny contains msg if {
	some name, bodies in input.resource.google_storage_bucket
	some body in bodies
	retained(body)
	body.versioning[_].enabled == true
	msg := sprintf("google_storage_bucket.%s: has versions beside a retention policy, which Google refuses; enable them without one", [name])
}

retained(body) if body.retention_policy

retained(body) if body.dynamic.retention_policy

# --- Cloud Run: open to the internet only behind IAP ------------------------------------------------------------------------

closed := {"INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"}

deny contains msg if {
	some name, bodies in input.resource.google_cloud_run_v2_service
	some body in bodies
	not guarded(body)
	msg := sprintf("google_cloud_run_v2_service.%s: is open to the internet without IAP; set iap_enabled, or internal ingress", [name])
}

deny contains msg if {
	some name, bodies in input.resource.google_cloud_run_v2_service
	some body in bodies
	asks_nobody(body)
	not only_behind_iap(body)
	not body.ingress in closed
	msg := sprintf("google_cloud_run_v2_service.%s: asks nobody who they are (invoker_iam_disabled) and is not internal", [name])
}

# What else would run something, which these rules do not look into.
unchecked := {
	"google_app_engine_flexible_app_version",
	"google_app_engine_standard_app_version",
	"google_cloud_run_service",
	"google_cloudfunctions2_function",
	"google_cloudfunctions_function",
}

deny contains msg if {
	some kind in unchecked
	some name, _ in input.resource[kind]
	msg := sprintf("%s.%s: is of a kind that no rule looks into; use google_cloud_run_v2_service", [kind, name])
}

guarded(body) if body.ingress in closed

guarded(body) if body.iap_enabled == true

guarded(body) if only_behind_iap(body)

# "all" on the very condition on which IAP is on, and internal otherwise.
only_behind_iap(body) if {
	condition := regex.find_all_string_submatch_n(`^\$\{(.+) \? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"\}$`, body.ingress, 1)[0][1]
	body.iap_enabled == sprintf("${%s}", [condition])
	object.get(body, "invoker_iam_disabled", false) in {false, sprintf("${!%s}", [condition])}
}

asks_nobody(body) if object.get(body, "invoker_iam_disabled", false) != false
