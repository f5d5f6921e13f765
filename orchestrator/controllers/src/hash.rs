//! Short names for templates and revisions: 32 bits of FNV, in letters that spell no words; upstream's alphabet.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

const OFFSET: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// Names a template. Another count of collisions makes another name.
pub fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let mut bytes = serde_json::to_vec(template).expect("Kubernetes types are plain JSON");
    bytes.extend(collisions.to_le_bytes());
    spelled(bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME)))
}

/// Names what a revision holds, exactly as upstream does: FNV-1 of the JSON that Go writes and of the count's digits.
pub fn revision_hash(data: &Value, collisions: i32) -> String {
    let text = data.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let bytes = text.bytes().chain(collisions.to_string().into_bytes());
    spelled(bytes.fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u32::from(byte)))
}

fn spelled(hash: u32) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(letters[usize::from(digit) % letters.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collision_makes_another_name() {
        let template = PodTemplateSpec::default();
        assert_eq!(template_hash(&template, 0), template_hash(&template, 0));
        assert_ne!(template_hash(&template, 0), template_hash(&template, 1));
        let data = serde_json::json!({"spec": {"template": {"$patch": "replace"}}});
        assert_eq!(revision_hash(&data, 0), revision_hash(&data, 0));
        assert_ne!(revision_hash(&data, 0), revision_hash(&data, 1));
    }

    #[test]
    fn fnv_is_the_published_one() {
        // The test vectors of FNV-1 (32 bits): "a" is 0x050c5d7e.
        let one = |text: &str| text.bytes().fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u32::from(byte));
        assert_eq!((one(""), one("a")), (0x811c_9dc5, 0x050c_5d7e));
        assert_eq!(spelled(0x050c_5d7e), "d8bfb88b");
    }
}
