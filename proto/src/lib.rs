//! The protocol between operator and agent, and its conversion to the domain.
