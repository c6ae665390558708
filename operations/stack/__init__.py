"""The embedded servers and the supervisor: Kafka, the MongoDB stand-in, SeaweedFS, gateway, streams, workers."""
