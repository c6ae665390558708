"""A worker whose attempts run on a RunPod endpoint: no model, no GPU, several slots in one process."""
