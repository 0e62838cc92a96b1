"""The wire: Pydantic models of requests and answers, and the crossing between JSON and arrays."""
