"""HTTP below the API and the page: requests, bodies, answers, and access."""
