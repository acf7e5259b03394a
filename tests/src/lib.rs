//! Scenario helpers shared by the integration tests.
