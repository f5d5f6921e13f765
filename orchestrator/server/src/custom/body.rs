//! Bodies of custom kinds: what their schema does not know goes and is told of, metadata is every object's.

use amphipod_schema::{ParseError, Parsed};
use serde_json::Value;

use super::CustomKind;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const PROBLEMS_MAX: usize = 100;

impl CustomKind {
    /// A decoded body without unknown fields; what was dropped joins the problems of its decoding.
    pub fn known(&self, mut parsed: Parsed) -> Result<Parsed, ParseError> {
        let ty = amphipod_schema::table().by_name(OBJECT_META);
        if let Some(metadata) = parsed.value.get_mut("metadata").filter(|metadata| !metadata.is_null()) {
            let checked = amphipod_schema::check(metadata.take(), ty).map_err(within_metadata)?;
            parsed
                .problems
                .extend(checked.problems.iter().map(|problem| problem.replacen("field \"", "field \"metadata.", 1)));
            *metadata = checked.value;
        }
        parsed.problems.extend(self.schema.prune(&mut parsed.value));
        parsed.problems.truncate(PROBLEMS_MAX);
        if parsed.value["metadata"].is_null()
            && let Value::Object(members) = &mut parsed.value
        {
            members.remove("metadata");
        }
        Ok(parsed)
    }
}

fn within_metadata(error: ParseError) -> ParseError {
    match error {
        ParseError::Type(why) => ParseError::Type(why.replacen("ObjectMeta.", "ObjectMeta.metadata.", 1)),
        other => other,
    }
}
