# Files of the repository: a plan or a state has every value in it, secret ones too. The input has their paths in `files`.
package files

import rego.v1

kept_out := `(^|/)(\.terraform(/|$)|[^/]*\.tfplan$|tfplan$|plan\.(out|json|txt)$|[^/]*\.tfstate(\..+)?$|crash(\..+)?\.log$)`

deny contains msg if {
	some file in input.files
	regex.match(kept_out, file)
	msg := sprintf("%s: is a plan, a state or Terraform's own folder; remove it and add it to .gitignore", [file])
}

deny contains msg if {
	some file in input.files
	regex.match(`(^|/)[^/]*(service[-_]?account|credentials)[^/]*\.json$`, file)
	msg := sprintf("%s: looks like a key of a service account; remove it, and revoke it", [file])
}
