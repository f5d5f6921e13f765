//! ImageLocality: better where the images are already, weighed by their size and by how many nodes have them.

use super::SCORE_MAX;
use crate::need::Need;
use crate::snapshot::{Images, NodeState};

const SMALL: i64 = 23 << 20;
const LARGE: i64 = 1_000 << 20;
/// Images of one pod that are told apart.
const IMAGES_MAX: usize = 62;

/// Which of the pod's images the node has, a bit for each.
pub fn mask(need: &Need, node: &NodeState) -> i64 {
    if node.images.is_empty() {
        return 0;
    }
    let images = need.images.iter().take(IMAGES_MAX).enumerate();
    images.filter(|(_, image)| node.images.contains(*image)).fold(0, |mask, (bit, _)| mask | 1 << bit)
}

pub fn score(need: &Need, mask: i64, images: &Images, nodes: usize) -> i64 {
    let present = need.images.iter().take(IMAGES_MAX).enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
    let sum: i64 = present.filter_map(|(_, image)| images.get(image)).map(|found| spread(found, nodes)).sum();
    let most = LARGE * need.images.len().max(1) as i64;
    SCORE_MAX * (sum.clamp(SMALL, most) - SMALL) / (most - SMALL)
}

/// An image that few nodes have counts little, so that pods do not crowd there.
fn spread((size, having): (i64, usize), nodes: usize) -> i64 {
    (size as f64 * (having as f64 / nodes.max(1) as f64)) as i64
}
