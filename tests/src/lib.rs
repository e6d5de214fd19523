//! Cluster, host and end-to-end tests over dc-lab.
