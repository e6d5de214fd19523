//! Pure: validate, place, plan and status of every resource.
