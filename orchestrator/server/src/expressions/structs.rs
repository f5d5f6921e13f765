//! Objects that expressions make: `Object{spec: Object.spec{replicas: 1}}` and `JSONPatch{op: "add", …}` become maps,
//! which the engine knows how to make; escaped names become those they stand for.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, LiteralValue, MapEntryExpr, MapExpr};

use super::values::unescaped;

/// The tree without struct literals. The error is a compiler's text.
pub(super) fn as_maps(mut tree: IdedExpr) -> Result<IdedExpr, String> {
    rewrite(&mut tree)?;
    Ok(tree)
}

fn rewrite(node: &mut IdedExpr) -> Result<(), String> {
    match &mut node.expr {
        Expr::Call(call) => {
            call.target.iter_mut().try_for_each(|target| rewrite(target))?;
            // The engine's own optional select fails where the member is missing; its optional index does not.
            if call.func_name == "_?._" {
                call.func_name = "_[?_]".to_owned();
            }
            call.args.iter_mut().try_for_each(rewrite)
        }
        Expr::Comprehension(inner) => {
            let parts = [
                &mut inner.iter_range,
                &mut inner.accu_init,
                &mut inner.loop_cond,
                &mut inner.loop_step,
                &mut inner.result,
            ];
            parts.into_iter().try_for_each(rewrite)
        }
        Expr::List(list) => list.elements.iter_mut().try_for_each(rewrite),
        Expr::Select(select) => {
            // The one member of the authorizer; the engine knows members of maps only.
            let is_authorizer = matches!(&select.operand.expr, Expr::Ident(name) if name == "authorizer");
            if is_authorizer && select.field == "requestResource" {
                node.expr = Expr::Ident("authorizer.requestResource".to_owned());
                return Ok(());
            }
            select.field = unescaped(&select.field);
            rewrite(&mut select.operand)
        }
        Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
            EntryExpr::MapEntry(entry) => rewrite(&mut entry.key).and_then(|()| rewrite(&mut entry.value)),
            EntryExpr::StructField(field) => rewrite(&mut field.value),
        }),
        Expr::Struct(made) => {
            let name = made.type_name.clone();
            let is_object = name == "Object" || name.starts_with("Object.");
            if !is_object && name != "JSONPatch" {
                return Err(format!("undeclared reference to '{name}' (in container '')"));
            }
            let entries: Result<Vec<_>, String> = std::mem::take(&mut made.entries).into_iter().map(entry).collect();
            node.expr = Expr::Map(MapExpr { entries: entries? });
            Ok(())
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Ok(()),
    }
}

fn entry(entry: IdedEntryExpr) -> Result<IdedEntryExpr, String> {
    let EntryExpr::StructField(mut field) = entry.expr else { return Ok(entry) };
    rewrite(&mut field.value)?;
    let name = unescaped(&field.field);
    let key = IdedExpr { id: entry.id, expr: Expr::Literal(LiteralValue::String(name.as_str().into())) };
    let made = MapEntryExpr { key, value: field.value, optional: field.optional };
    Ok(IdedEntryExpr { id: entry.id, expr: EntryExpr::MapEntry(made) })
}
