"""Access: who the caller is, whether they may do what they ask for, and the access log."""
