//! Defaults of a schema: filled in from above, so that a default object gets the defaults of its own members too.

use serde_json::Value;

use super::Structural;

impl Structural {
    /// Fills what is absent, and what is null where null is not allowed; such a null without a default is as good as
    /// absent. Idempotent.
    pub fn fill_defaults(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, schema) in &self.properties {
                    let null = members.get(name).map(Value::is_null);
                    let wanting = null.is_none() || (null == Some(true) && !schema.nullable);
                    if let (true, Some(default)) = (wanting, &schema.default) {
                        members.insert(name.clone(), default.clone());
                    }
                }
                members.retain(|name, member| {
                    !member.is_null()
                        || self.member(name).is_none_or(|schema| schema.nullable || schema.default.is_some())
                });
                for (name, member) in members {
                    let Some(schema) = self.member(name) else { continue };
                    if let (true, false, Some(default)) = (member.is_null(), schema.nullable, &schema.default) {
                        *member = default.clone();
                    }
                    schema.fill_defaults(member);
                }
            }
            Value::Array(list) => {
                let Some(items) = &self.items else { return };
                for item in list {
                    if let (true, false, Some(default)) = (item.is_null(), items.nullable, &items.default) {
                        *item = default.clone();
                    }
                    items.fill_defaults(item);
                }
            }
            _ => {}
        }
    }
}
