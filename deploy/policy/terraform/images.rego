# What runs is named by what it is, not by a name that somebody can give to something else.
package terraform

import rego.v1

digest := `@sha256:([0-9a-f]{64}|\.\.\.)$`

deny contains msg if {
	some found in texts
	regex.match(`[a-z0-9]:latest$`, found.text)
	msg := sprintf("%s: %s is another image tomorrow; name it by its digest", [place(found.path), found.text])
}

deny contains msg if {
	some found in texts
	found.path[count(found.path) - 1] == "image"
	not startswith(found.text, "${")
	not regex.match(digest, found.text)
	msg := sprintf("%s: %s has no digest; name it as REGISTRY/NAME@sha256:...", [place(found.path), found.text])
}

# On its way to a container, too: a tag behind the name of a registry or a folder.
deny contains msg if {
	some found in texts
	found.path[count(found.path) - 1] != "image"
	regex.match(`^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]*$`, found.text)
	not endswith(found.text, ":latest")
	msg := sprintf("%s: %s has no digest; name it as REGISTRY/NAME@sha256:...", [place(found.path), found.text])
}

# In a local, `nginx:1.27` is not known for an image.
deny contains msg if {
	some found in texts
	found.path[count(found.path) - 1] == "image"
	regex.match(`^\$\{\s*local\.`, found.text)
	msg := sprintf("%s: comes from a local; hand it in by a variable that insists on a digest", [place(found.path)])
}

# Where it comes from a variable, the variable has to insist.
deny contains msg if {
	some name, bodies in input.variable
	regex.match(`(^|_)images?$`, name)
	some body in bodies
	not insists(body)
	msg := sprintf("variable.%s: takes images without a digest; validate it for @sha256:", [name])
}

insists(body) if {
	some validation in body.validation
	contains(validation.condition, "@sha256:")
}
