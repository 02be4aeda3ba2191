//! Placeholder until the fronts are tested.
