"""What the gateway says of itself: OpenAPI for its HTTP routes, AsyncAPI for its sockets and topics. Both are generated
from the models that read and write the real bodies, frames and records."""
