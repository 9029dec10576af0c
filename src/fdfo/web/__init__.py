"""One bounded HTTP server (uvicorn) for scores and pages: who may ask, how much, and for how long."""
