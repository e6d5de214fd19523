//! The custom resources: types, conditions, reasons.
