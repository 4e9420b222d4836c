"""The HTTP API of LiveTalking, for clients that were written for it. docs/livetalking.md is its reference."""
