"""RunPod's worker protocol, for workers built on its SDK: polls, pings, results, streams, stops.

One room for the whole process: it tails ``openv.assignments`` and holds the long polls. What a worker says becomes the
same messages that our own workers send. May import what ``gateway`` may.
"""
