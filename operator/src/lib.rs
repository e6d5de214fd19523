//! The operator: controllers, ledger, agent sessions, metrics.
