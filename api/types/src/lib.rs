//! Ids, units and vocabulary, without Kubernetes.
