//! The agent of one host: session, ledger on disk, reconcile loop, metrics.
