"""Files and bodies with faults, each with the expected answer."""
