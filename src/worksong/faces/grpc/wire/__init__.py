"""The messages on the wire: .proto files, and what `make proto` generates of them."""
