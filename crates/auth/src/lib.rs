//! Credentials for registries: docker's configuration file, credential helpers, secrets that cannot be printed.
