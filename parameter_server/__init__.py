"""The tensors that many processes share: named, versioned, updated by the server's own optimizer."""
