//! Everything that reads what strangers send, fed with damaged bodies: seeds are in `corpus/`, damage is drawn from a
//! fixed stream, so that a run can be repeated. `AMPHIPOD_FUZZ_ROUNDS` makes a run longer (10 000 take seconds).

use serde_json::Value;

use crate::{decode_protobuf, encode_protobuf, parse, parse_yaml, patch, table};

const ROUNDS: u64 = 2_000;
const SEEDS: [&str; 4] = [
    include_str!("../corpus/deployment.json"),
    include_str!("../corpus/definition.json"),
    include_str!("../corpus/strategic.json"),
    include_str!("../corpus/operations.json"),
];

/// A stream of numbers that one seed decides.
struct Stream(u64);

impl Stream {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// A few bytes flipped, cut out, doubled, or replaced by what parsers stumble over.
    fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        const BAD: [&[u8]; 6] = [b"null", b"{", b"[[[[", b"\"$patch\":\"delete\",", b"\xff\xff\xff\xff\x0f", b"1e999"];
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => drop(bytes.splice(at..at, BAD[self.below(BAD.len())].iter().copied())),
            }
        }
        bytes
    }
}

/// Calls `target` with damaged forms of every seed.
fn run(seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    let rounds = std::env::var("AMPHIPOD_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for round in 0..rounds {
        let mut stream = Stream(round);
        let seed = &seeds[stream.below(seeds.len())];
        target(&stream.damaged(seed));
    }
}

fn texts() -> Vec<Vec<u8>> {
    SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

fn deployment() -> Value {
    serde_json::from_str(SEEDS[0]).unwrap()
}

#[test]
fn damaged_protobuf_is_refused_or_understood() {
    let seeds: Vec<Vec<u8>> =
        SEEDS[..2].iter().map(|seed| encode_protobuf(&serde_json::from_str(seed).unwrap()).unwrap()).collect();
    for seed in &seeds {
        decode_protobuf(seed).unwrap();
    }
    run(&seeds, |bytes| {
        let Ok(decoded) = decode_protobuf(bytes) else { return };
        // Whatever was understood can be said again and is understood alike.
        if let Ok(again) = encode_protobuf(&decoded.value)
            && let Ok(second) = decode_protobuf(&again)
        {
            let third = encode_protobuf(&second.value).unwrap();
            assert_eq!(decode_protobuf(&third).unwrap().value, second.value);
        }
    });
}

#[test]
fn damaged_documents_never_panic() {
    let ty = table::table().by_kind("apps/v1", "Deployment");
    run(&texts(), |bytes| {
        let _ = parse(bytes, ty);
        let _ = parse(bytes, None);
        let _ = parse_yaml(bytes, ty);
    });
}

#[test]
fn damaged_patches_never_panic() {
    let object = deployment();
    let ty = table::table().by_kind("apps/v1", "Deployment").unwrap();
    run(&texts(), |bytes| {
        let _ = patch::json_patch(&object, bytes);
        let _ = patch::merge_patch(&object, bytes);
        let _ = patch::strategic_merge(&object, bytes, ty);
    });
}
