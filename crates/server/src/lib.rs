//! The OCI registry server that hoist embeds.
