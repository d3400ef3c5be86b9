//! Floor 3: publications and subscriptions over any media driver.

#![forbid(unsafe_code)]
