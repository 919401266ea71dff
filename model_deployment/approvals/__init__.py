"""The approvals service: who proposes and approves versions, by an API and a page."""
