//! The tools of the host behind small traits, real and fake.
