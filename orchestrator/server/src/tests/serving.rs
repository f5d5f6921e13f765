//! Discovery, reviews, the road.
