//! The embedded data centre: control plane, machines in namespaces, software SAN.
