//! A store over HTTP: the OCI distribution protocol.
