"""RunPod's serverless API, ``/v2/{endpoint}/…``, for clients: what RunPod's SDKs call.

Decides nothing: requests become commands, answers are made of documents and events. May import what ``gateway`` may.
"""
