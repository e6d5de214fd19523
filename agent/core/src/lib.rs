//! Pure: desired, observed, diff, steps and rendering of one host.
