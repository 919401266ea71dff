"""Proof that nothing in the log was changed or removed: verification, anchors, seals."""
