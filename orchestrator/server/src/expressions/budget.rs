//! What an evaluation may cost while it runs: each round of a comprehension is paid for, so that one loop over what a
//! client sent cannot hold a thread. Payments are calls that stand in the tree where the engine passes every round.

use std::cell::Cell;

use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value as Cel};

/// What one evaluation may spend. Upstream's limit for a call.
const SPENT_MAX: i64 = 1_000_000;
/// No source can name it.
pub(super) const PAY: &str = "@pay";
const EXCEEDED: &str = "operation cancelled: actual cost limit exceeded";

thread_local! {
    static SPENT: Cell<i64> = const { Cell::new(0) };
}

/// An evaluation begins.
pub(super) fn begin() {
    SPENT.set(0);
}

pub(super) fn register(context: &mut Context<'_>) {
    context.add_function(PAY, |value: Cel, price: i64| -> Result<Cel, ExecutionError> {
        let spent = SPENT.get().saturating_add(price);
        SPENT.set(spent);
        if spent > SPENT_MAX { Err(ExecutionError::function_error(PAY, EXCEEDED)) } else { Ok(value) }
    });
}

/// The text of the error that says so, if it is that one.
pub(super) fn exceeded(error: &ExecutionError) -> Option<&'static str> {
    matches!(error, ExecutionError::FunctionError { function, .. } if function == PAY).then_some(EXCEEDED)
}

/// The tree with a payment in every round of every comprehension.
pub(super) fn metered(mut tree: IdedExpr) -> IdedExpr {
    meter(&mut tree);
    tree
}

fn meter(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| meter(target));
            call.args.iter_mut().for_each(meter);
        }
        Expr::Comprehension(inner) => {
            let price = 1 + size(&inner.loop_step) + size(&inner.loop_cond);
            for part in [&mut inner.iter_range, &mut inner.loop_cond, &mut inner.loop_step, &mut inner.result] {
                meter(part);
            }
            pay_each_round(inner, price);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(meter),
        Expr::Select(select) => meter(&mut select.operand),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| match &mut entry.expr {
            EntryExpr::MapEntry(entry) => {
                meter(&mut entry.key);
                meter(&mut entry.value);
            }
            EntryExpr::StructField(field) => meter(&mut field.value),
        }),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

/// Pays where something is evaluated once a round. Loops that gather a list keep the form by which the engine knows them.
fn pay_each_round(inner: &mut ComprehensionExpr, price: i64) {
    let gathers = matches!(inner.loop_cond.expr, Expr::Literal(_));
    if let (true, Expr::Call(call)) = (gathers, &mut inner.loop_step.expr) {
        if call.func_name == "_?_:_"
            && let Some(condition) = call.args.first_mut()
        {
            return pay(condition, price);
        }
        if call.func_name == "_+_"
            && let Some(IdedExpr { expr: Expr::List(list), .. }) = call.args.get_mut(1)
            && let Some(element) = list.elements.first_mut()
        {
            return pay(element, price);
        }
    }
    pay(&mut inner.loop_cond, price);
}

fn pay(node: &mut IdedExpr, price: i64) {
    let (id, expr) = (node.id, std::mem::take(&mut node.expr));
    let price = IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(price.into())) };
    let args = vec![IdedExpr { id, expr }, price];
    node.expr = Expr::Call(CallExpr { func_name: PAY.to_owned(), target: None, args });
}

/// Steps of one round; loops inside pay for themselves.
fn size(node: &IdedExpr) -> i64 {
    match &node.expr {
        Expr::Call(call) => 1 + call.target.as_deref().into_iter().chain(&call.args).map(size).sum::<i64>(),
        Expr::List(list) => 1 + list.elements.iter().map(size).sum::<i64>(),
        Expr::Select(select) => 1 + size(&select.operand),
        _ => 1,
    }
}
