//! Everything here that reads what strangers send, fed with damaged bodies; seeds are in `corpus/`.
//! `fuzz/damage.rs` says how to run it for longer.

mod damage;

use serde_json::Value;

use damage::run;

use crate::{decode_protobuf, encode_protobuf, parse, parse_yaml, patch, table};

const SEEDS: [&str; 4] = [
    include_str!("../corpus/deployment.json"),
    include_str!("../corpus/definition.json"),
    include_str!("../corpus/strategic.json"),
    include_str!("../corpus/operations.json"),
];
const WORDS: [&[u8]; 6] = [b"null", b"{", b"[[[[", b"\"$patch\":\"delete\",", b"\xff\xff\xff\xff\x0f", b"1e999"];

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
    run(&seeds, &WORDS, |bytes| {
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
    run(&texts(), &WORDS, |bytes| {
        let _ = parse(bytes, ty);
        let _ = parse(bytes, None);
        let _ = parse_yaml(bytes, ty);
    });
}

#[test]
fn damaged_patches_never_panic() {
    let object = deployment();
    let ty = table::table().by_kind("apps/v1", "Deployment").unwrap();
    run(&texts(), &WORDS, |bytes| {
        let _ = patch::json_patch(&object, bytes);
        let _ = patch::merge_patch(&object, bytes);
        let _ = patch::strategic_merge(&object, bytes, ty);
    });
}
