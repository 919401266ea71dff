"""Other ways to write what the contract writes in one way, and which of them are accepted."""
